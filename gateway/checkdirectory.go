package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/afterbeep/afterbeep/config"
)

// mailboxes reads the mailboxes of the directory, and asks its service.
func (c *checker) mailboxes(ctx context.Context) {
	directory, err := config.OpenDirectory(c.cfg, nil, slog.New(slog.DiscardHandler))
	if mistakes := (config.FileErrors{}); errors.As(err, &mistakes) {
		for _, m := range mistakes {
			c.say(markFail, "directory.file", "%s", m)
		}
		return
	}
	if err != nil {
		c.say(markFail, "directory.file", "%v", errors.Unwrap(err)) // it begins with the key
		return
	}
	c.directory = directory
	known := directory.Standing().Mailboxes
	if c.cfg.Directory.File != "" {
		c.say(markOK, "directory.file", "%s: %s", c.cfg.Directory.File, count(known-len(c.cfg.Mailboxes), "mailbox", "mailboxes"))
	}
	if c.cfg.Directory.URL != "" {
		c.service(ctx)
	} else if known == 0 {
		c.say(markWarn, "mailboxes", "there is none: every call will be refused with 480")
	}
}

// service asks the directory service for a mailbox that cannot be. serve starts
// whatever it answers.
func (c *checker) service(ctx context.Context) {
	began := time.Now()
	if err := c.directory.Check(ctx); err != nil {
		c.say(markWarn, "directory.url", "%v; until that is mended calls for mailboxes that it has not told of yet are refused with 503", err)
		return
	}
	c.say(markOK, "directory.url", "answers in %s", millis(time.Since(began)))
}
