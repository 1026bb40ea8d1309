package web

import (
	"io"
	"net/http"
	"time"
)

// bodyWithin is how long a request's body may take to come: forms, small JSON
// and what chat services tell.
const bodyWithin = 10 * time.Second

// timely ends connections whose request's body does not come in time. net/http
// waits for it for ever, even where no handler wants it.
func timely(next http.Handler, within time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			control := http.NewResponseController(w)
			_ = control.SetReadDeadline(time.Now().Add(within)) // none where the connection has no deadlines
			r.Body = &timelyBody{r.Body, control}
		}
		next.ServeHTTP(w, r)
	})
}

// timelyBody lifts the deadline once the body is there: net/http reads on, and
// would take a deadline that passes for a client that left.
type timelyBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *timelyBody) Read(p []byte) (n int, err error) {
	n, err = b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
