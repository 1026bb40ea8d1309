package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"

	"github.com/afterbeep/afterbeep/delivery"
)

// formFile is a file in a form. Each body opens its own: the transport may
// still read one when the answer is there.
type formFile struct {
	field, name, mime string
	bytes             int64
	open              func(ctx context.Context) (io.ReadCloser, error)
}

// noteFile is the note's file in a form.
func noteFile(p delivery.Parcel, field, name, mime string) *formFile {
	return &formFile{field: field, name: name, mime: mime, bytes: p.Note.Media.Bytes, open: func(ctx context.Context) (io.ReadCloser, error) {
		return openNote(ctx, p)
	}}
}

// setForm makes multipart/form-data (RFC 7578) the body of a request: the
// fields by their names, then the file, which is read while it is sent. Its
// error is a *delivery.SendError.
func setForm(ctx context.Context, req *http.Request, fields map[string]string, file *formFile) error {
	var out bytes.Buffer
	form := multipart.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		_ = form.WriteField(name, fields[name]) // a buffer takes it
	}
	_, _ = createPart(form, file.field, file.name, file.mime)
	split := out.Len()
	_ = form.Close()
	head, tail := out.Bytes()[:split], out.Bytes()[split:]
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.ContentLength = int64(out.Len()) + file.bytes
	req.GetBody = func() (io.ReadCloser, error) {
		f, err := file.open(ctx)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), f, bytes.NewReader(tail)), f}, nil
	}
	var err error
	req.Body, err = req.GetBody()
	return err
}

// createPart begins a part of a form; name is the file's, "" for a part that is
// none.
func createPart(form *multipart.Writer, field, name, mime string) (io.Writer, error) {
	disposition := fmt.Sprintf("form-data; name=%q", field)
	if name != "" {
		disposition += fmt.Sprintf("; filename=%q", name)
	}
	return form.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {mime}})
}

// encodeJSON writes a value as JSON that is no HTML: names stay as they are.
func encodeJSON(to io.Writer, value any) error {
	enc := json.NewEncoder(to)
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}
