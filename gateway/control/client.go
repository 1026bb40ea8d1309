package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// RotateKeys is store.Store.RotateKeys of the running gateway.
func (c *Client) RotateKeys(ctx context.Context, keys []byte, after string) (string, error) {
	var r rotation
	err := c.ask(ctx, http.MethodPost, "/keys/rotate", rotation{keys, after}, &r)
	return r.After, err
}

// Addresses are where the running gateway listens, as it told Serve.
func (c *Client) Addresses(ctx context.Context) ([]string, error) {
	var s status
	err := c.ask(ctx, http.MethodGet, "/status", nil, &s)
	return s.Addresses, err
}

func (c *Client) ask(ctx context.Context, method, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("the question to the gateway: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the question to the gateway: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("the gateway does not answer: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
			return fmt.Errorf("the gateway's answer: %w", err)
		}
		return nil
	}
	var f failure
	_ = json.NewDecoder(response.Body).Decode(&f)
	if response.StatusCode == http.StatusNotFound {
		return delivery.ErrNotFound
	}
	return fmt.Errorf("the gateway says: %s", f.Error)
}
