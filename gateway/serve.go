package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/afterbeep/afterbeep/config"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "serve", Short: "Run the gateway", Args: arguments}
	path := configFlag(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP) // at once and for good: one that nobody takes ends the process
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		return serve(cmd.Context(), cfg, *path, hangups)
	}
	return cmd
}

// serve runs the gateway until ctx ends. A hangup has it read the file at path
// again, one that came before it was open as soon as it is.
func serve(ctx context.Context, cfg *config.Config, path string, hangups <-chan os.Signal) error {
	log, level := newLogger(cfg.Log)
	cfg.Store.Wait = 5 * time.Second // for a command that has the store open
	g, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	for _, l := range g.sip.Addrs() {
		log.Info("listening", "sip", l.String())
	}
	log.Info("listening", "http", g.http.Addr().String())
	stop := onEach(hangups, func() { g.reload(path, level) })
	log.Info("ready", "version", versionText(), "mailboxes", g.directory.Standing().Mailboxes, "trunks", len(cfg.SIP.Trunks))
	g.warnOfSilence()
	err = g.run(ctx, secondSignal(ctx))
	stop()
	log.Info("stopped")
	return errors.Join(err, g.close())
}

// warnOfSilence says so where the file has nobody who may call, or be called.
func (g *gateway) warnOfSilence() {
	if len(g.cfg.SIP.Trunks)+len(g.cfg.SIP.Accounts) == 0 {
		g.log.Warn("the file has no trunk and no account: no call will be answered")
	}
	if g.directory.Standing().Mailboxes == 0 && g.cfg.Directory.URL == "" {
		g.log.Warn("the file has no mailbox: every call will be refused with 480")
	}
}

// secondSignal is closed when another signal comes after the one that ended ctx.
func secondSignal(ctx context.Context) <-chan struct{} {
	second := make(chan struct{})
	signals := make(chan os.Signal, 1)
	context.AfterFunc(ctx, func() {
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		go func() {
			<-signals
			close(second)
		}()
	})
	return second
}

// onEach does something at each signal until stop, which waits for it.
func onEach(signals <-chan os.Signal, do func()) (stop func()) {
	over := make(chan struct{})
	var doing sync.WaitGroup
	doing.Go(func() {
		for {
			select {
			case <-signals:
				do()
			case <-over:
				return
			}
		}
	})
	return func() {
		close(over)
		doing.Wait()
	}
}

// newLogger writes to standard error. Its level may be set anew.
func newLogger(o config.Log) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	setLevel(level, o.Level)
	options := &slog.HandlerOptions{Level: level}
	if o.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), level
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options)), level
}

func setLevel(level *slog.LevelVar, text string) {
	_ = level.UnmarshalText([]byte(text)) // the file allows only levels
}
