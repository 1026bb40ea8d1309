package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

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
func (t *telegram) call(ctx context.Context, method string, params any, file *formFile, n delivery.Note) (json.RawMessage, error) {
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
func (t *telegram) request(ctx context.Context, method string, params any, file *formFile) (*http.Request, error) {
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
	fields, err := telegramFields(body)
	if err != nil {
		return nil, &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("the request cannot be written: %w", err)}
	}
	if err := setForm(ctx, req, fields, file); err != nil {
		return nil, err
	}
	return req, nil
}

// telegramFields are parameters as a form carries them: in JSON, unless they are
// strings.
func telegramFields(params []byte) (map[string]string, error) {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(params, &parts); err != nil {
		return nil, err
	}
	fields := make(map[string]string, len(parts))
	for name, part := range parts {
		value := string(part)
		if part[0] == '"' {
			if err := json.Unmarshal(part, &value); err != nil {
				return nil, err
			}
		}
		fields[name] = value
	}
	return fields, nil
}

// refused reads a refusal by the table.
func (t *telegram) refused(said telegramAnswer, after time.Duration, n delivery.Note) *telegramError {
	fault := findTelegram(said)
	failed := &delivery.SendError{Outcome: fault.outcome, Status: said.Code, Credentials: fault.credentials}
	failed.Err = hinted(fmt.Errorf("the service answered %d %s", said.Code, http.StatusText(said.Code)), fault.hint)
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
