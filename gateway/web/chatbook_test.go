package web

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// chatbook is a channel with its linked chats.
type chatbook struct {
	mu     sync.Mutex
	codes  map[string]string // by mailbox
	linked map[string]string // addresses by mailbox
	minted int
	length time.Duration // of a code's life
	fail   error         // of the store
	mute   error         // of the service
	bare   bool          // its links bring no text along
}

func newChatbook() *chatbook {
	return &chatbook{codes: map[string]string{}, linked: map[string]string{}, length: 10 * time.Minute}
}

func (c *chatbook) DeepLink(_ context.Context, code string) (link, say string, err error) {
	if c.bare {
		return "https://matrix.to/#/@bot:example.org", "link " + code, c.mute
	}
	return "https://t.me/afterbeep_test_bot?start=" + code, "/start " + code, c.mute
}

func (c *chatbook) Of(_ context.Context, mailbox string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	address, ok := c.linked[mailbox]
	if !ok && c.fail == nil {
		return "", fmt.Errorf("mailbox has no chat: %w", delivery.ErrNotFound)
	}
	return address, c.fail
}

func (c *chatbook) Code(_ context.Context, mailbox string) (string, time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.minted++
	c.codes[mailbox] = fmt.Sprintf("k7Qm2_xV9-tLw4Rz%d", c.minted)
	return c.codes[mailbox], time.Now().Add(c.length), c.fail
}

func (c *chatbook) Link(_ context.Context, code, address string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for mailbox, minted := range c.codes {
		if minted == code {
			delete(c.codes, mailbox)
			c.linked[mailbox] = address
			return mailbox, c.fail
		}
	}
	return "", errors.Join(c.fail, delivery.ErrNotFound)
}

func (c *chatbook) Unlink(context.Context, string) (int, error) { return 0, errors.ErrUnsupported }

func (c *chatbook) Revoke(_ context.Context, mailbox string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.codes, mailbox)
	delete(c.linked, mailbox)
	return c.fail
}

// codeOf is the code that a mailbox has now.
func (c *chatbook) codeOf(mailbox string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.codes[mailbox]
}

// linking offers a server's mailboxes two channels: reception both, and the
// workshop the second.
func linking(telegram, whatsapp *chatbook) func(*Options) {
	return func(o *Options) {
		o.Linkables = map[string]Linkable{
			"team-bot": {Linkable: telegram, Chats: telegram, Type: "telegram"},
			"wa":       {Linkable: whatsapp, Chats: whatsapp, Type: "whatsapp"},
		}
		o.LinkableFor = func(_ context.Context, mailbox string) []string {
			return map[string][]string{reception: {"team-bot", "wa", "not-linkable"}, workshop: {"wa"}}[mailbox]
		}
	}
}
