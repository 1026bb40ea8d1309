package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
	"github.com/afterbeep/afterbeep/delivery/store"
	"github.com/afterbeep/afterbeep/gateway/control"
)

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Check the file, ports, store and channels, and say what to mend", Args: cobra.NoArgs,
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

// finding is what a check found: fine, worth a warning, or to be mended.
type finding struct {
	what string
	note string
	err  error
}

// warning is a finding that does not keep the gateway from running.
type warning string

func (w warning) Error() string { return string(w) }

// check tries what the file asks for and prints a line for each thing. It sends
// nothing to anybody.
func check(ctx context.Context, out io.Writer, cfg *config.Config) error {
	running := false
	if client, err := control.Dial(ctx, cfg.Store.Path); err == nil {
		running = true
		_ = client.Close()
	}
	var all []finding
	for _, checks := range []func(context.Context, *config.Config, bool) []finding{
		checkFile, checkListeners, checkMedia, checkStore, checkChannels,
	} {
		all = append(all, checks(ctx, cfg, running)...)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	failed := 0
	for _, f := range all {
		mark, text := "ok", f.note
		if warn := warning(""); errors.As(f.err, &warn) {
			mark, text = "warn", f.err.Error()
		} else if f.err != nil {
			mark, text = "FAIL", f.err.Error()
			failed++
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", mark, f.what, text)
	}
	if err := w.Flush(); err != nil || failed == 0 {
		return err
	}
	return errSaid
}

func checkFile(_ context.Context, cfg *config.Config, _ bool) []finding {
	all := []finding{{what: "file", note: fmt.Sprintf("%d trunks, %d mailboxes, %d channels", len(cfg.SIP.Trunks), len(cfg.Mailboxes), len(cfg.Channels))}}
	if len(cfg.SIP.Trunks) == 0 {
		all = append(all, finding{what: "sip.trunks", err: warning("there is none: no call will be answered")})
	}
	if len(cfg.Mailboxes) == 0 {
		all = append(all, finding{what: "mailboxes", err: warning("there is none: every call will be refused with 480")})
	}
	for _, t := range cfg.SIP.Trunks {
		for _, p := range t.From {
			if p.Bits() == 0 {
				all = append(all, finding{what: "trunk " + t.Name, err: warning(p.String() + " lets the whole Internet send calls; name the PBX's own addresses")})
			}
		}
	}
	return all
}

func checkListeners(ctx context.Context, cfg *config.Config, running bool) []finding {
	var all []finding
	try := func(what, network, address string) {
		if running {
			all = append(all, finding{what: what, note: "in use by the running gateway"})
			return
		}
		all = append(all, finding{what: what, note: "free", err: tryListen(ctx, network, address)})
	}
	for _, l := range cfg.SIP.Listen {
		try(l.String(), l.Network, l.Addr.String())
	}
	try("http://"+cfg.HTTP.Listen.String(), "tcp", cfg.HTTP.Listen.String())
	return all
}

func tryListen(ctx context.Context, network, address string) error {
	var lc net.ListenConfig
	var c io.Closer
	var err error
	if network == "udp" {
		c, err = lc.ListenPacket(ctx, network, address)
	} else {
		c, err = lc.Listen(ctx, network, address)
	}
	if err != nil {
		return fmt.Errorf("cannot be opened: %w; is another program on it (ss -lnp), or is the address another machine's?", err)
	}
	return c.Close()
}

func checkMedia(ctx context.Context, cfg *config.Config, _ bool) []finding {
	first, last := cfg.Media.Ports.First, cfg.Media.Ports.Last
	calls := (int(last)-int(first))/2 + 1
	address := net.JoinHostPort(cfg.Media.Address.String(), "0")
	all := []finding{{what: "media.address", note: fmt.Sprintf("%s, ports for %d calls at once", cfg.Media.Address, calls), err: tryListen(ctx, "udp", address)}}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Max < uint64(2*calls) {
		all = append(all, finding{what: "open files", err: warning(fmt.Sprintf("the limit is %d, enough for %d calls at once; raise nofile (LimitNOFILE) to %d for all ports", limit.Max, limit.Max/2, 2*calls))})
	}
	if cfg.Media.Address.IsUnspecified() && !cfg.Media.Advertise.IsValid() {
		all = append(all, finding{what: "media.advertise", err: errors.New("media.address is unspecified: callers must be told an address; set media.advertise")})
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		all = append(all, finding{what: "ffmpeg", note: "not installed; voice notes do not need it"})
	}
	return all
}

func checkStore(ctx context.Context, cfg *config.Config, running bool) []finding {
	f := finding{what: "store", note: cfg.Store.Path}
	if running {
		f.note += ", held by the running gateway"
		return []finding{f}
	}
	s, err := store.Open(cfg.Store, slog.New(slog.DiscardHandler))
	if err != nil {
		f.err = err
		return []finding{f}
	}
	f.err = errors.Join(s.Ready(ctx), s.Close())
	return []finding{f}
}

func checkChannels(ctx context.Context, cfg *config.Config, _ bool) []finding {
	var names []string
	for name := range cfg.Channels {
		names = append(names, name)
	}
	slices.Sort(names)
	var all []finding
	for _, name := range names {
		c := cfg.Channels[name]
		f := finding{what: "channel " + name, note: c.Type}
		opened, err := c.Options.Open(channel.Env{Log: slog.New(slog.DiscardHandler), UserAgent: "afterbeep/" + versionText()})
		f.err = err
		if checker, ok := opened.(delivery.Checker); ok && err == nil {
			within, cancel := context.WithTimeout(ctx, 10*time.Second)
			f.err = checker.Check(within)
			cancel()
		}
		if !used(cfg, name) {
			f.note += ", which no mailbox delivers to"
		}
		all = append(all, f)
	}
	return all
}

func used(cfg *config.Config, name string) bool {
	return slices.ContainsFunc(cfg.Mailboxes, func(m config.Mailbox) bool {
		return slices.ContainsFunc(m.Chains(), func(c delivery.Chain) bool {
			return slices.ContainsFunc(c, func(t delivery.Target) bool { return t.Channel == name })
		})
	})
}
