package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Listen opens the socket in dir, whose store must be locked by the caller: then
// a socket that is there was left by a crash.
func Listen(ctx context.Context, dir string) (net.Listener, error) {
	path := filepath.Join(dir, Socket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the old control socket is in the way: %w", err)
	}
	listener, err := listen(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("the control socket cannot be opened (a path of over %d bytes is too long, see store.path): %w", maxPath, err)
	}
	return listener, nil
}

// maxPath is how long the path of a unix socket can be, see unix(7).
const maxPath = 107

// Serve answers operators until ctx ends.
func Serve(ctx context.Context, listener net.Listener, op Operator, g Gateway) error {
	server := &http.Server{Handler: routes(op, g), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("the control socket: %w", err)
	}
	return nil
}

// listen opens the socket for its owner alone. It is made under a temporary
// name, so that nobody can connect before its mode is set.
func listen(ctx context.Context, path string) (net.Listener, error) {
	var config net.ListenConfig
	fresh := path + Fresh
	_ = os.Remove(fresh)
	listener, err := config.Listen(ctx, "unix", fresh)
	if err != nil {
		return nil, err
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, path)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

func routes(op Operator, g Gateway) http.Handler {
	mux := http.NewServeMux()
	chatRoutes(mux, g.Chats)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s := Status{Addresses: g.Addresses}
		if err := g.Ready(r.Context()); err != nil {
			s.Fault = err.Error()
		}
		respond(w, s, nil)
	})
	mux.HandleFunc("POST /mailbox", func(w http.ResponseWriter, r *http.Request) {
		var of mailbox
		if err := json.NewDecoder(r.Body).Decode(&of); err != nil {
			respond(w, nil, err)
			return
		}
		m, err := g.Mailbox(r.Context(), of.Mailbox)
		respond(w, m, err)
	})
	mux.HandleFunc("POST /channels/try", func(w http.ResponseWriter, r *http.Request) { try(w, r, g) })
	mux.HandleFunc("POST /notes/list", func(w http.ResponseWriter, r *http.Request) {
		var f delivery.Filter
		if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
			respond(w, nil, err)
			return
		}
		notes, err := op.List(r.Context(), f)
		respond(w, notes, err)
	})
	mux.HandleFunc("POST /notes/count", func(w http.ResponseWriter, r *http.Request) {
		var f delivery.Filter
		if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
			respond(w, nil, err)
			return
		}
		n, err := op.Count(r.Context(), f)
		respond(w, number{n}, err)
	})
	mux.HandleFunc("GET /notes/{id}", func(w http.ResponseWriter, r *http.Request) {
		life, err := op.Life(r.Context(), r.PathValue("id"))
		respond(w, life, err)
	})
	mux.HandleFunc("POST /notes/{id}/redrive", func(w http.ResponseWriter, r *http.Request) {
		var which redriving
		if err := json.NewDecoder(r.Body).Decode(&which); err != nil {
			respond(w, nil, err)
			return
		}
		n, err := op.Redrive(r.Context(), r.PathValue("id"), which.Channel)
		respond(w, number{n}, err)
	})
	mux.HandleFunc("POST /links", func(w http.ResponseWriter, r *http.Request) {
		var l link
		err := json.NewDecoder(r.Body).Decode(&l)
		if err == nil {
			l.Token, err = op.LinkFor(r.Context(), l.Mailbox)
		}
		respond(w, l, err)
	})
	mux.HandleFunc("POST /export", func(w http.ResponseWriter, r *http.Request) { export(w, r, op) })
	mux.HandleFunc("POST /erase", func(w http.ResponseWriter, r *http.Request) {
		var of mailbox
		if err := json.NewDecoder(r.Body).Decode(&of); err != nil {
			respond(w, nil, err)
			return
		}
		erased, err := op.Erase(context.WithoutCancel(r.Context()), of.Mailbox) // what has begun is finished
		respond(w, erased, err)
	})
	mux.HandleFunc("POST /keys/rotate", func(w http.ResponseWriter, r *http.Request) {
		var turn rotation
		err := json.NewDecoder(r.Body).Decode(&turn)
		if err == nil {
			turn.After, err = op.RotateKeys(r.Context(), turn.Keys, turn.After)
		}
		respond(w, rotation{After: turn.After}, err)
	})
	return mux
}

func chatRoutes(mux *http.ServeMux, chats Chats) {
	mux.HandleFunc("POST /chats", func(w http.ResponseWriter, r *http.Request) {
		var (
			of   chat
			code ChatCode
		)
		err := json.NewDecoder(r.Body).Decode(&of)
		if err == nil {
			code, err = chats.LinkChat(r.Context(), of.Channel, of.Mailbox)
		}
		respond(w, code, err)
	})
	mux.HandleFunc("DELETE /chats", func(w http.ResponseWriter, r *http.Request) {
		var of chat
		err := json.NewDecoder(r.Body).Decode(&of)
		if err == nil {
			err = chats.UnlinkChat(r.Context(), of.Channel, of.Mailbox)
		}
		respond(w, struct{}{}, err)
	})
}

// try sends a sample note.
func try(w http.ResponseWriter, r *http.Request, g Gateway) {
	var t Trial
	if err := json.NewDecoder(r.Body).Decode(&t); err != nil {
		respond(w, nil, err)
		return
	}
	respond(w, g.Try(r.Context(), t), nil)
}

// export streams a zip. How it ended is told behind it.
func export(w http.ResponseWriter, r *http.Request, op Operator) {
	var of mailbox
	if err := json.NewDecoder(r.Body).Decode(&of); err != nil {
		respond(w, nil, err)
		return
	}
	w.Header().Set("Trailer", exportFailed+", "+exportIncomplete)
	out := &begun{w: w}
	err := op.Export(r.Context(), of.Mailbox, out)
	switch {
	case err == nil:
	case !out.yes:
		respond(w, nil, err)
	case errors.Is(err, delivery.ErrIncomplete):
		w.Header().Set(exportIncomplete, "yes")
	default:
		w.Header().Set(exportFailed, err.Error())
	}
}

// begun remembers whether anything was written.
type begun struct {
	w   io.Writer
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.w.Write(p)
}

func respond(w http.ResponseWriter, body any, err error) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case errors.Is(err, delivery.ErrNotFound):
		w.WriteHeader(http.StatusNotFound)
		body = failure{err.Error()}
	case err != nil:
		w.WriteHeader(http.StatusInternalServerError)
		body = failure{err.Error()}
	}
	_ = json.NewEncoder(w).Encode(body) // the peer is gone: nobody is left to tell
}
