package delivery

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"
)

const (
	codeBytes = 16 // 128 bits: not to be guessed while the code is good
	codeFor   = 10 * time.Minute
)

// chatbook keeps the linked chats of a channel among what it remembers, under
// keys that begin with "chat ":
//
//	chat of MAILBOX          the address
//	chat at ADDRESS N        a mailbox that is, or was, linked to the address
//	chat numbered ADDRESS N  there has been an N: what is erased leaves gaps
//	chat code HASH           the mailbox that a code is for
//	chat coded MAILBOX       the hash of its code: an earlier one is void
//
// No step needs two entries to change at once. What leads from an address to a
// mailbox is there whenever the mailbox is linked to it, and stays when the link
// has ended, until the mailbox is erased: one that unlinks could not take it away
// without taking that of another who links. Beyond that it counts for nothing.
type chatbook struct{ memory Memory }

// NewChats keeps the chats that are linked at a channel in what it remembers.
// Codes are 128 random bits, good for ten minutes and once, and kept as hashes.
func NewChats(m Memory) Chats { return chatbook{m} }

// Of implements Chats.
func (c chatbook) Of(ctx context.Context, mailbox string) (string, error) {
	address, err := c.memory.Get(ctx, ofKey(mailbox))
	if err != nil {
		return "", unlessMissing(err, "the chat of a mailbox")
	}
	return string(address), nil
}

// Code implements Chats.
func (c chatbook) Code(ctx context.Context, mailbox string) (code string, expires time.Time, err error) {
	random := make([]byte, codeBytes)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	code = base64.RawURLEncoding.EncodeToString(random)
	hash := hashOf(code)
	expires = time.Now().Add(codeFor)
	for _, e := range []Entry{
		{Key: codeKey(hash), Value: []byte(mailbox), For: codeFor, Mailbox: mailbox},
		{Key: codedKey(mailbox), Value: []byte(hash), For: codeFor, Mailbox: mailbox},
	} {
		if err := c.memory.Put(ctx, e); err != nil {
			return "", time.Time{}, fmt.Errorf("keep a code: %w", err)
		}
	}
	return code, expires, nil
}

// Link implements Chats.
func (c chatbook) Link(ctx context.Context, code, address string) (mailbox string, err error) {
	hash := hashOf(code)
	taken, err := c.memory.Take(ctx, codeKey(hash))
	if err != nil {
		return "", unlessMissing(err, "take a code")
	}
	mailbox = string(taken)
	latest, err := c.memory.Get(ctx, codedKey(mailbox))
	if err != nil {
		return "", unlessMissing(err, "take a code")
	}
	if string(latest) != hash {
		return "", ErrNotFound
	}
	if err := c.bind(ctx, mailbox, address); err != nil {
		return "", fmt.Errorf("link a chat: %w", err)
	}
	return mailbox, nil
}

// bind makes an address the one of a mailbox.
func (c chatbook) bind(ctx context.Context, mailbox, address string) error {
	if err := c.number(ctx, mailbox, address); err != nil {
		return err
	}
	if err := c.memory.Put(ctx, Entry{Key: ofKey(mailbox), Value: []byte(address), Mailbox: mailbox}); err != nil {
		return err
	}
	return c.number(ctx, mailbox, address) // the mailbox may have been erased between the two, and the way with it
}

// number makes sure that a mailbox is found by an address.
func (c chatbook) number(ctx context.Context, mailbox, address string) error {
	for n := 0; ; n++ {
		if _, err := c.memory.Add(ctx, Entry{Key: numberedKey(address, n)}); err != nil {
			return err
		}
		added, err := c.memory.Add(ctx, Entry{Key: atKey(address, n), Value: []byte(mailbox), Mailbox: mailbox})
		if err != nil || added {
			return err
		}
		there, err := c.memory.Get(ctx, atKey(address, n))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err == nil && string(there) == mailbox {
			return nil
		}
	}
}

// Unlink implements Chats.
func (c chatbook) Unlink(ctx context.Context, address string) (ended int, err error) {
	for n := 0; ; n++ {
		_, err := c.memory.Get(ctx, numberedKey(address, n))
		if errors.Is(err, ErrNotFound) {
			return ended, nil
		}
		if err != nil {
			return ended, fmt.Errorf("unlink a chat: %w", err)
		}
		mailbox, err := c.memory.Get(ctx, atKey(address, n))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return ended, fmt.Errorf("unlink a chat: %w", err)
		}
		was, err := c.leads(ctx, string(mailbox), address)
		if was {
			err = c.memory.Delete(ctx, ofKey(string(mailbox)))
		}
		if err != nil {
			return ended, fmt.Errorf("unlink a chat: %w", err)
		}
		if was {
			ended++
		}
	}
}

// leads says whether a mailbox is linked to the address.
func (c chatbook) leads(ctx context.Context, mailbox, address string) (bool, error) {
	linked, err := c.memory.Get(ctx, ofKey(mailbox))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && string(linked) == address, err
}

// Revoke implements Chats.
func (c chatbook) Revoke(ctx context.Context, mailbox string) error {
	for _, key := range []string{codedKey(mailbox), ofKey(mailbox)} {
		if err := c.memory.Delete(ctx, key); err != nil {
			return fmt.Errorf("end the link of a mailbox: %w", err)
		}
	}
	return nil
}

// unlessMissing adds what was being done to an error, but leaves ErrNotFound as
// it is: that answer is the same for whatever the reason.
func unlessMissing(err error, what string) error {
	if errors.Is(err, ErrNotFound) {
		return ErrNotFound
	}
	return fmt.Errorf("%s: %w", what, err)
}

// hashOf is what is kept of a code.
func hashOf(code string) string {
	sum := sha256.Sum256([]byte(code))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func ofKey(mailbox string) string        { return "chat of " + mailbox }
func codeKey(hash string) string         { return "chat code " + hash }
func codedKey(mailbox string) string     { return "chat coded " + mailbox }
func atKey(address string, n int) string { return "chat at " + address + " " + strconv.Itoa(n) }
func numberedKey(address string, n int) string {
	return "chat numbered " + address + " " + strconv.Itoa(n)
}
