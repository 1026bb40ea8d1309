package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// telegramFile is a file that travels with a request. Each body opens its own:
// the transport may still read one when the answer is there.
type telegramFile struct {
	field, name, mime string
	bytes             int64
	open              func(ctx context.Context) (io.ReadCloser, error)
}

// telegramAnswer is what every method answers (Bot API, "Making requests").
type telegramAnswer struct {
	OK          bool            `json:"ok"`
	Result      json.RawMessage `json:"result"`
	Code        int             `json:"error_code"`
	Description string          `json:"description"`
	Parameters  struct {
		MigrateTo  int64 `json:"migrate_to_chat_id"`
		RetryAfter int64 `json:"retry_after"` // seconds
	} `json:"parameters"`
}

// call makes one request of a method and returns its result, which is nil when
// the answer broke off. Its error is a *telegramError or, without an answer,
// a *delivery.SendError. n is the note that it is about.
func (t *telegram) call(ctx context.Context, method string, params any, file *telegramFile, n delivery.Note) (json.RawMessage, error) {
	req, err := t.request(ctx, method, params, file)
	if err != nil {
		return nil, err
	}
	got, err := t.do(req)
	if err != nil {
		return nil, err
	}
	var said telegramAnswer
	err = json.Unmarshal(got.body, &said)
	switch {
	case got.status == http.StatusOK && said.OK:
		return said.Result, nil
	case got.status == http.StatusOK && got.cut: // the status has decided
		return nil, nil
	case got.status == http.StatusOK && (err != nil || said.Code == 0):
		return nil, &telegramError{&delivery.SendError{
			Outcome: delivery.Retry, Status: got.status, Credentials: true,
			Err: errors.New("what answers there is no Bot API; see api_url"),
		}, telegramFault{}, 0, t.redact.excerpt(got.body, n)}
	case err != nil || said.Code == 0: // a proxy's page
		said = telegramAnswer{Code: got.status, Description: string(got.body)}
	}
	return nil, t.refused(said, got.after, n)
}

// request makes the request of a method: JSON, or with a file a form.
func (t *telegram) request(ctx context.Context, method string, params any, file *telegramFile) (*http.Request, error) {
	body, err := json.Marshal(params)
	if err != nil {
		return nil, &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("the request cannot be written: %w", err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base.JoinPath(method).String(), bytes.NewReader(body))
	if err != nil {
		return nil, &delivery.SendError{Outcome: delivery.Dead, Err: errURL} // the cause has the token
	}
	req.Header.Set("Content-Type", "application/json")
	if file == nil {
		return req, nil
	}
	head, tail, contentType, err := telegramForm(body, file)
	if err != nil {
		return nil, &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("the request cannot be written: %w", err)}
	}
	req.Header.Set("Content-Type", contentType)
	req.ContentLength = int64(len(head)) + file.bytes + int64(len(tail))
	req.GetBody = func() (io.ReadCloser, error) {
		f, err := file.open(ctx)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), &wholeFile{f, file.bytes}, bytes.NewReader(tail)), f}, nil
	}
	if req.Body, err = req.GetBody(); err != nil {
		return nil, unreadable(err)
	}
	return req, nil
}

// wholeFile reads a file of a known length; one that is shorter is an error, as
// the rest of the request must not follow it.
type wholeFile struct {
	io.Reader
	left int64
}

// Read implements io.Reader.
func (f *wholeFile) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.Reader.Read(p[:min(int64(len(p)), f.left)])
	if f.left -= int64(n); err == io.EOF && f.left > 0 { //nolint:errorlint // readers return it bare
		err = errors.New("the note's file is shorter than it was kept")
	}
	return n, err
}

// telegramForm writes what comes before and after the file in a form
// (RFC 7578): each parameter is a part, in JSON unless it is a string.
func telegramForm(params []byte, file *telegramFile) (head, tail []byte, contentType string, err error) {
	var parts map[string]json.RawMessage
	if err = json.Unmarshal(params, &parts); err != nil {
		return nil, nil, "", err
	}
	var out bytes.Buffer
	form := multipart.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		value := string(parts[name])
		if parts[name][0] == '"' {
			if err = json.Unmarshal(parts[name], &value); err != nil {
				return nil, nil, "", err
			}
		}
		if err = form.WriteField(name, value); err != nil {
			return nil, nil, "", err
		}
	}
	_, err = form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="%s"`, file.field, file.name)},
		"Content-Type":        {file.mime},
	})
	if err != nil {
		return nil, nil, "", err
	}
	split := out.Len()
	if err = form.Close(); err != nil {
		return nil, nil, "", err
	}
	return out.Bytes()[:split], out.Bytes()[split:], form.FormDataContentType(), nil
}

// refused reads a refusal by the table.
func (t *telegram) refused(said telegramAnswer, after time.Duration, n delivery.Note) *telegramError {
	fault := findTelegram(said)
	failed := &delivery.SendError{Outcome: fault.outcome, Status: said.Code, Credentials: fault.credentials}
	failed.Err = fmt.Errorf("the service answered %d %s", said.Code, http.StatusText(said.Code))
	if fault.hint != "" {
		failed.Err = fmt.Errorf("%w: %s", failed.Err, fault.hint)
	}
	if fault.outcome != delivery.Dead {
		failed.After = max(after, min(time.Duration(said.Parameters.RetryAfter)*time.Second, maxRetryAfter))
	}
	return &telegramError{failed, fault, said.Parameters.MigrateTo, t.redact.excerpt([]byte(said.Description), n)}
}

// aside is a call that is not the note's own: an answer that was lost loses no
// note.
func (t *telegram) aside(ctx context.Context, method string, params, result any, n delivery.Note) error {
	got, err := t.call(ctx, method, params, nil, n)
	if failed := (*delivery.SendError)(nil); errors.As(err, &failed) && failed.Outcome == delivery.Unknown {
		failed.Outcome = delivery.Retry
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(got, result); err != nil {
		return &delivery.SendError{Outcome: delivery.Retry, Err: fmt.Errorf("the answer to %s cannot be read", method)}
	}
	return nil
}
