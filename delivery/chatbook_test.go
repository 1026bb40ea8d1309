package delivery

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// brittle is a memory that fails from a certain call on, once told to.
type brittle struct {
	Scratch
	left atomic.Int64 // calls that succeed
}

var errBrittle = errors.New("the disk is gone")

func (b *brittle) fails() bool { return b.left.Add(-1) < 0 }

func (b *brittle) Get(ctx context.Context, key string) ([]byte, error) {
	if b.fails() {
		return nil, errBrittle
	}
	return b.Scratch.Get(ctx, key)
}

func (b *brittle) Put(ctx context.Context, e Entry) error {
	if b.fails() {
		return errBrittle
	}
	return b.Scratch.Put(ctx, e)
}

func (b *brittle) Add(ctx context.Context, e Entry) (bool, error) {
	if b.fails() {
		return false, errBrittle
	}
	return b.Scratch.Add(ctx, e)
}

func (b *brittle) Take(ctx context.Context, key string) ([]byte, error) {
	if b.fails() {
		return nil, errBrittle
	}
	return b.Scratch.Take(ctx, key)
}

func (b *brittle) Delete(ctx context.Context, key string) error {
	if b.fails() {
		return errBrittle
	}
	return b.Scratch.Delete(ctx, key)
}

// mint mints a code.
func mint(t *testing.T, c Chats, mailbox string) string {
	t.Helper()
	code, _, err := c.Code(t.Context(), mailbox)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// link links an address to a mailbox.
func link(t *testing.T, c Chats, mailbox, address string) {
	t.Helper()
	if got, err := c.Link(t.Context(), mint(t, c, mailbox), address); err != nil || got != mailbox {
		t.Fatalf("linked %q, %v", got, err)
	}
}

// of fails unless a mailbox is linked to an address, "" for none.
func of(t *testing.T, c Chats, mailbox, want string) {
	t.Helper()
	got, err := c.Of(t.Context(), mailbox)
	if got != want || (want == "") != errors.Is(err, ErrNotFound) || (want != "" && err != nil) {
		t.Errorf("mailbox %s is linked to %q, %v, want %q", mailbox, got, err, want)
	}
}

func TestChatIsLinked(t *testing.T) {
	c := NewChats(&Scratch{})
	of(t, c, "101", "")
	code, expires, err := c.Code(t.Context(), "101")
	if !regexp.MustCompile(`^[\w-]{22}$`).MatchString(code) || time.Until(expires) > 10*time.Minute || time.Until(expires) < 9*time.Minute || err != nil {
		t.Errorf("code %q until %v, %v", code, expires, err)
	}
	of(t, c, "101", "")
	if mailbox, err := c.Link(t.Context(), code, "chat-7"); mailbox != "101" || err != nil {
		t.Errorf("linked %q, %v", mailbox, err)
	}
	of(t, c, "101", "chat-7")
	link(t, c, "101", "chat-8")
	of(t, c, "101", "chat-8")
}

// Whatever is wrong with a code, the answer is the same.
func TestCodeThatIsNone(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, c Chats, code string) string{
		"never minted": func(*testing.T, Chats, string) string { return "nobody-minted-this-one" },
		"empty":        func(*testing.T, Chats, string) string { return "" },
		"used": func(t *testing.T, c Chats, code string) string {
			t.Helper()
			_, err := c.Link(t.Context(), code, "chat-7")
			if err != nil {
				t.Error(err)
			}
			return code
		},
		"an earlier one": func(t *testing.T, c Chats, code string) string {
			t.Helper()
			mint(t, c, "101")
			return code
		},
		"revoked": func(t *testing.T, c Chats, code string) string {
			t.Helper()
			if err := c.Revoke(t.Context(), "101"); err != nil {
				t.Error(err)
			}
			return code
		},
		"its hash":    func(_ *testing.T, _ Chats, code string) string { return hashOf(code) },
		"too late":    func(_ *testing.T, _ Chats, code string) string { time.Sleep(10 * time.Minute); return code },
		"other case":  func(_ *testing.T, _ Chats, code string) string { return strings.ToUpper(code) + "a" },
		"cut":         func(_ *testing.T, _ Chats, code string) string { return code[:21] },
		"padded":      func(_ *testing.T, _ Chats, code string) string { return code + "==" },
		"another key": func(*testing.T, Chats, string) string { return "of 101" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := NewChats(&Scratch{})
				code := spoil(t, c, mint(t, c, "101"))
				if mailbox, err := c.Link(t.Context(), code, "chat-9"); mailbox != "" || err != ErrNotFound { //nolint:errorlint // the very same answer
					t.Errorf("linked %q, %v", mailbox, err)
				}
			})
		})
	}
}

func TestChatIsUnlinked(t *testing.T) {
	c := NewChats(&Scratch{})
	for i := range 5 {
		link(t, c, fmt.Sprint(101+i), "family")
	}
	link(t, c, "102", "elsewhere") // it left the family
	link(t, c, "103", "elsewhere")
	link(t, c, "103", "family") // and came back
	if err := c.Revoke(t.Context(), "104"); err != nil {
		t.Error(err)
	}
	for address, want := range map[string]int{"family": 3, "nobody": 0} {
		for _, want := range []int{want, 0} {
			if n, err := c.Unlink(t.Context(), address); n != want || err != nil {
				t.Errorf("%s: unlinked %d, %v, want %d", address, n, err, want)
			}
		}
	}
	for mailbox, want := range map[string]string{"101": "", "102": "elsewhere", "103": "", "104": "", "105": ""} {
		of(t, c, mailbox, want)
	}
	link(t, c, "101", "family")
	if n, err := c.Unlink(t.Context(), "family"); n != 1 || err != nil {
		t.Errorf("unlinked %d, %v", n, err)
	}
}

// What is erased of a mailbox leaves the others' links to be found.
func TestUnlinkBesideWhatWasErased(t *testing.T) {
	memory := &Scratch{}
	c := NewChats(memory)
	for _, mailbox := range []string{"101", "102", "103"} {
		link(t, c, mailbox, "family")
	}
	for _, key := range []string{ofKey("102"), atKey("family", 1)} {
		if err := memory.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	if n, err := c.Unlink(t.Context(), "family"); n != 2 || err != nil {
		t.Errorf("unlinked %d, %v", n, err)
	}
}

// Of many that use a code at once one is linked, and what links and unlinks at
// once leaves no link that Unlink does not find.
func TestChatsAtOnce(t *testing.T) {
	c := NewChats(&Scratch{})
	code := mint(t, c, "101")
	var linked atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := c.Link(t.Context(), code, fmt.Sprint("chat-", i)); err == nil {
				linked.Add(1)
			} else if !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if linked.Load() != 1 {
		t.Errorf("%d were linked by one code", linked.Load())
	}
	for i := range 10 {
		mailbox := fmt.Sprint(200 + i)
		all.Go(func() {
			for range 20 {
				link(t, c, mailbox, "family")
			}
		})
		all.Go(func() {
			for range 20 {
				if _, err := c.Unlink(t.Context(), "family"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if _, err := c.Unlink(t.Context(), "family"); err != nil {
		t.Error(err)
	}
	for i := range 10 {
		of(t, c, fmt.Sprint(200+i), "")
	}
}

// A memory that fails is no code that is wrong, and what failed can be done again.
func TestChatsOnABrokenDisk(t *testing.T) {
	memory := &brittle{}
	c := NewChats(memory)
	whole := func() { memory.left.Store(1 << 30) }
	for name, act := range map[string]func() error{
		"Of":     func() error { _, err := c.Of(t.Context(), "101"); return err },
		"Code":   func() error { _, _, err := c.Code(t.Context(), "101"); return err },
		"Unlink": func() error { _, err := c.Unlink(t.Context(), "chat-7"); return err },
		"Revoke": func() error { return c.Revoke(t.Context(), "101") },
		"Link": func() error {
			left := memory.left.Load()
			whole()
			code := mint(t, c, "102")
			memory.left.Store(left)
			_, err := c.Link(t.Context(), code, "chat-7")
			return err
		},
	} {
		for calls := range int64(20) {
			whole()
			link(t, c, "101", "chat-7")
			memory.left.Store(calls)
			err := act()
			if err == nil {
				if calls == 0 {
					t.Errorf("%s succeeds without a memory", name)
				}
				break
			}
			if !errors.Is(err, errBrittle) {
				t.Errorf("%s at call %d: %v", name, calls, err)
			}
			if name == "Unlink" {
				whole()
				if _, err := c.Unlink(t.Context(), "chat-7"); err != nil {
					t.Error(err)
				}
				of(t, c, "101", "")
			}
		}
	}
}
