package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery/store"
	"github.com/afterbeep/afterbeep/gateway/control"
)

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Check the file, ports, store and channels, and say what to mend", Args: arguments,
	}
	path := configFlag(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		return check(cmd.Context(), cmd.OutOrStdout(), cfg)
	}
	return cmd
}

// The marks of a finding. Only what keeps `serve` from starting, or from taking
// any call, fails.
const (
	markOK   = "ok"
	markWarn = "warn"
	markFail = "FAIL"
)

type finding struct{ mark, what, text string }

// checker gathers what it finds.
type checker struct {
	cfg     *config.Config
	running bool     // a gateway runs on this store
	held    []string // where it listens
	found   []finding

	directory *config.Directory // nil when it cannot be read
}

// check tries what the file asks for and prints a line for each thing. It sends
// nothing to anybody.
func check(ctx context.Context, out io.Writer, cfg *config.Config) error {
	c := &checker{cfg: cfg}
	for _, part := range []func(context.Context){
		c.file, c.mailboxes, c.gateway, c.listeners, c.tls, c.reach, c.accounts, c.media, c.store, c.redis, c.records, c.contacts, c.channels,
	} {
		part(ctx)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range c.found {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", f.mark, f.what, f.text)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if c.directory != nil {
		_ = c.directory.Close() // idle connections alone
	}
	if slices.ContainsFunc(c.found, func(f finding) bool { return f.mark == markFail }) {
		return errSaid
	}
	return nil
}

func (c *checker) say(mark, what, format string, args ...any) {
	c.found = append(c.found, finding{mark, what, fmt.Sprintf(format, args...)})
}

func (c *checker) file(context.Context) {
	c.say(markOK, "file", "%s, %s, %s", count(len(c.cfg.SIP.Trunks), "trunk", "trunks"),
		count(len(c.cfg.Mailboxes), "mailbox", "mailboxes"), count(len(c.cfg.Channels), "channel", "channels"))
	if len(c.cfg.SIP.Trunks)+len(c.cfg.SIP.Accounts) == 0 {
		c.say(markWarn, "sip.trunks", "there is none: no call will be answered")
	}
	for _, t := range c.cfg.SIP.Trunks {
		for _, p := range t.From {
			switch {
			case p.Bits() == 0 && t.Digest != nil:
				c.say(markWarn, "trunk "+t.Name, "%s lets the whole Internet guess its password; name the PBX's own addresses where they do not change", p)
			case p.Bits() == 0 && len(t.TLSName) == 0:
				c.say(markWarn, "trunk "+t.Name, "%s lets the whole Internet send calls; name the PBX's own addresses", p)
			}
		}
	}
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// gateway looks for one that runs already.
func (c *checker) gateway(ctx context.Context) {
	client, err := control.Dial(ctx, c.cfg.Store.Path)
	if err != nil {
		return
	}
	defer func() { _ = client.Close() }() // it was only asked
	c.running = true
	status, err := client.Status(ctx)
	c.held = status.Addresses
	switch {
	case err != nil:
		c.say(markWarn, "gateway", "one is running, but does not say how it stands: %v", err)
	case status.Fault != "":
		c.say(markFail, "gateway", "one is running, and takes no call: %s", strings.ReplaceAll(status.Fault, "\n", "; "))
	default:
		c.say(markOK, "gateway", "running, and takes calls")
	}
}

func (c *checker) store(ctx context.Context) {
	path := c.cfg.Store.Path
	if err := store.CheckKeyFile(c.cfg.Store.KeyFile); err != nil {
		c.say(markFail, "store", "%v", err)
		return
	}
	if c.running {
		c.say(markOK, "store", "%s, held by the running gateway", path)
		return
	}
	socket := filepath.Join(path, control.Socket) + control.Fresh
	if longest := len(unix.RawSockaddrUnix{}.Path) - 1; len(socket) > longest {
		c.say(markFail, "store", "%s is too long: the control socket in it can have %d characters, and has %d", path, longest, len(socket))
		return
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) { // opening it would make it, and make it the checker's own
		c.toBeMade("store", path)
		return
	}
	o := c.cfg.Store
	o.AsIs = true // to seal it is the gateway's part
	s, err := store.Open(o, slog.New(slog.DiscardHandler))
	if err != nil {
		c.say(markFail, "store", "%v", err)
		return
	}
	sealed := s.Sealed()
	if err := errors.Join(s.Ready(ctx), s.Close()); err != nil {
		c.say(markFail, "store", "%v", err)
		return
	}
	if o.KeyFile != "" && !sealed {
		c.say(markOK, "store", "%s, which the next start seals", path)
		return
	}
	c.say(markOK, "store", "%s", path)
}

// redis looks at what many machines share. serve starts without it.
func (c *checker) redis(ctx context.Context) {
	if c.cfg.Store.Redis == "" {
		return
	}
	mend, err := store.InspectRedis(ctx, c.cfg.Store)
	for _, what := range mend {
		c.say(markWarn, "store.redis", "%s", what)
	}
	switch {
	case err != nil:
		c.say(markWarn, "store.redis", "%v; until that is mended this machine goes on alone", err)
	case len(mend) == 0:
		c.say(markOK, "store.redis", "shared with the other machines")
	}
}

// records checks the file of call records, and does not make it.
func (c *checker) records(context.Context) {
	path := c.cfg.Log.CallRecords
	if path == "" || path == "-" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			c.say(markFail, "log.call_records", "its folder %s is not there; make it first", filepath.Dir(path))
			return
		}
		c.toBeMade("log.call_records", path)
	case err != nil:
		c.say(markFail, "log.call_records", "%v", err)
	default:
		_ = file.Close() // nothing was written
		c.say(markOK, "log.call_records", "%s", path)
	}
}

// contacts reads the files that name callers. serve starts without them.
func (c *checker) contacts(context.Context) {
	for _, f := range c.cfg.ContactFiles() {
		book, err := config.ReadBook(f.Path)
		if err != nil {
			c.say(markWarn, f.Key, "%s: %v; until that is mended it names no caller", f.Path, err)
			continue
		}
		read := fmt.Sprintf("%s, %s", count(book.Cards, "card", "cards"), count(book.Numbers, "number", "numbers"))
		if book.Broken > 0 {
			c.say(markWarn, f.Key, "%s: %s; %s broken and left out", f.Path, read, count(book.Broken, "card is", "cards are"))
			continue
		}
		c.say(markOK, f.Key, "%s: %s", f.Path, read)
	}
}

// toBeMade checks that path can be made, in the nearest folder there is.
func (c *checker) toBeMade(what, path string) {
	dir := filepath.Dir(path)
	for _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir); _, err = os.Stat(dir) {
		dir = filepath.Dir(dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		c.say(markFail, what, "%s cannot be made in %s: %v", path, dir, err)
		return
	}
	c.say(markOK, what, "%s, made by the first start", path)
}
