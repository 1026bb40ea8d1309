package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"

	"github.com/afterbeep/afterbeep/delivery"
)

// Client asks the gateway that holds the store. It is an Operator.
type Client struct{ http http.Client }

// ErrNotRunning says that no gateway listens beside the store.
var ErrNotRunning = errors.New("no gateway is running on this store")

// Dial connects to the gateway whose store is in dir.
func Dial(ctx context.Context, dir string) (*Client, error) {
	path := filepath.Join(dir, Socket)
	var dialer net.Dialer
	probe, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	_ = probe.Close()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", path)
	}}
	return &Client{http.Client{Transport: transport}}, nil
}

// Close lets go of the socket.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// List is delivery.Notes.List of the running gateway.
func (c *Client) List(ctx context.Context, f delivery.Filter) (notes []delivery.Summary, err error) {
	err = c.ask(ctx, http.MethodPost, "/notes/list", f, &notes)
	return notes, err
}

// Life is delivery.Notes.Life of the running gateway.
func (c *Client) Life(ctx context.Context, id string) (life delivery.Life, err error) {
	err = c.ask(ctx, http.MethodGet, "/notes/"+url.PathEscape(id), nil, &life)
	return life, err
}

// Count is delivery.Notes.Count of the running gateway.
func (c *Client) Count(ctx context.Context, f delivery.Filter) (int, error) {
	var notes number
	err := c.ask(ctx, http.MethodPost, "/notes/count", f, &notes)
	return notes.N, err
}

// Redrive is delivery.Notes.Redrive of the running gateway.
func (c *Client) Redrive(ctx context.Context, id, channel string) (int, error) {
	var jobs number
	err := c.ask(ctx, http.MethodPost, "/notes/"+url.PathEscape(id)+"/redrive", redriving{channel}, &jobs)
	return jobs.N, err
}

// LinkFor is delivery.Links.LinkFor of the running gateway.
func (c *Client) LinkFor(ctx context.Context, mailbox string) (string, error) {
	l := link{Mailbox: mailbox}
	err := c.ask(ctx, http.MethodPost, "/links", l, &l)
	return l.Token, err
}

// Erase is delivery's Erase of the running gateway's store.
func (c *Client) Erase(ctx context.Context, of string) (erased delivery.Erasure, err error) {
	err = c.ask(ctx, http.MethodPost, "/erase", mailbox{of}, &erased)
	return erased, err
}

// Export is delivery.Export of the running gateway's store.
func (c *Client) Export(ctx context.Context, of string, w io.Writer) error {
	response, err := c.do(ctx, http.MethodPost, "/export", mailbox{of})
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(w, response.Body); err != nil {
		return fmt.Errorf("the gateway's export: %w", err)
	}
	if why := response.Trailer.Get(exportFailed); why != "" {
		return fmt.Errorf("the gateway says: %s", why)
	}
	if response.Trailer.Get(exportIncomplete) != "" {
		return delivery.ErrIncomplete
	}
	return nil
}

// RotateKeys is store.Store.RotateKeys of the running gateway.
func (c *Client) RotateKeys(ctx context.Context, keys []byte, after string) (string, error) {
	var r rotation
	err := c.ask(ctx, http.MethodPost, "/keys/rotate", rotation{keys, after}, &r)
	return r.After, err
}

// Mailbox finds a mailbox in the running gateway's directory.
func (c *Client) Mailbox(ctx context.Context, number string) (m Mailbox, err error) {
	err = c.ask(ctx, http.MethodPost, "/mailbox", mailbox{number}, &m)
	return m, err
}

// Try has the running gateway send a sample note.
func (c *Client) Try(ctx context.Context, t Trial) (tried Tried, err error) {
	err = c.ask(ctx, http.MethodPost, "/channels/try", t, &tried)
	return tried, err
}

// LinkChat implements Chats by the running gateway.
func (c *Client) LinkChat(ctx context.Context, channel, mailbox string) (code ChatCode, err error) {
	err = c.ask(ctx, http.MethodPost, "/chats", chat{channel, mailbox}, &code)
	return code, err
}

// UnlinkChat implements Chats by the running gateway.
func (c *Client) UnlinkChat(ctx context.Context, channel, mailbox string) error {
	return c.ask(ctx, http.MethodDelete, "/chats", chat{channel, mailbox}, &struct{}{})
}

// Status says how the running gateway stands.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.ask(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}

func (c *Client) ask(ctx context.Context, method, path string, question, answer any) error {
	response, err := c.do(ctx, method, path, question)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("the gateway's answer: %w", err)
	}
	return nil
}

// do asks and returns what the gateway says to it, if that is no refusal.
func (c *Client) do(ctx context.Context, method, path string, question any) (*http.Response, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, fmt.Errorf("the question to the gateway: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("the question to the gateway: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the gateway does not answer: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()
	var f failure
	_ = json.NewDecoder(response.Body).Decode(&f)
	if response.StatusCode == http.StatusNotFound {
		return nil, delivery.ErrNotFound
	}
	return nil, fmt.Errorf("the gateway says: %s", f.Error)
}
