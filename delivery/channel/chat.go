package channel

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// errUnlinked is that a mailbox has no chat of its own.
var errUnlinked = errors.New("the mailbox has not linked a chat of this channel")

// linkedChat is the address of the chat that a mailbox has linked to itself. Its
// error is a *delivery.SendError, and says how to link one, or what address a
// target could have, like the example.
func (e Env) linkedChat(ctx context.Context, mailbox, example string) (string, error) {
	address, err := e.Chats.Of(ctx, mailbox)
	switch {
	case errors.Is(err, delivery.ErrNotFound):
		return "", &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("%w: link one on its inbox page, or give the target an address, like NAME:%s; then redrive the note", errUnlinked, example)}
	case err != nil:
		return "", &delivery.SendError{Outcome: delivery.Retry, Err: fmt.Errorf("the linked chat cannot be looked up: %w", err)}
	}
	return address, nil
}

// stopWord ends a link, where the service has no other form of it.
const stopWord = "/stop"

// link links the chat of an address to the mailbox of a code, and is what to
// answer there: the same, whatever is wrong with the code, and "" where that was
// said often enough. language is that of who wrote, "" where only the mailbox's
// may be known; stop is how people write stopWord at the service.
func (e Env) link(ctx context.Context, language, code, address, stop string) (linked bool, answer string, err error) {
	mailbox, err := e.Chats.Link(ctx, code, address)
	switch {
	case errors.Is(err, delivery.ErrNotFound):
		if may, err := e.mayRefuse(ctx, address); err != nil || !may {
			return false, "", err
		}
		return false, text.For(language).BadCode, nil
	case err != nil:
		return false, "", fmt.Errorf("a chat cannot be linked: %w", err)
	}
	words := text.For(language)
	if language == "" {
		words = e.texts(mailbox)
	}
	return true, fmt.Sprintf(words.Linked, text.Display(mailbox)) + "\n" + strings.ReplaceAll(words.StopWord, stopWord, stop), nil
}

// mostRefused is how many bad codes a chat is told of in a minute: whoever
// tries many is not worth the sends.
const mostRefused = 5

// mayRefuse says whether a chat is told once more that a code is not good.
func (e Env) mayRefuse(ctx context.Context, address string) (bool, error) {
	for n := range mostRefused {
		key := "refused code " + address + " " + strconv.Itoa(n)
		added, err := e.Memory.Add(ctx, delivery.Entry{Key: key, Value: []byte("said"), For: time.Minute})
		if err != nil {
			return false, unkept(err)
		}
		if added {
			return true, nil
		}
	}
	return false, nil
}

// unlink ends the links to a chat, by all the addresses that it has or had, and
// says how many there were.
func (e Env) unlink(ctx context.Context, addresses ...string) (ended int, err error) {
	for _, address := range addresses {
		n, err := e.Chats.Unlink(ctx, address)
		if err != nil {
			return ended, fmt.Errorf("a chat's links cannot be ended: %w", err)
		}
		ended += n
	}
	return ended, nil
}
