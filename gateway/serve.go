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
		cfg, err := config.Load(*path)
		if err != nil {
			return err
		}
		return serve(cmd.Context(), cfg, *path)
	}
	return cmd
}

// serve runs the gateway until ctx ends; SIGHUP has it read the file at path
// again.
func serve(ctx context.Context, cfg *config.Config, path string) error {
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
	stop := onHangup(func() { g.reload(path, level) })
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

// onHangup does something at each SIGHUP until stop, which waits for it.
func onHangup(do func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	var doing sync.WaitGroup
	doing.Go(func() {
		for range signals {
			do()
		}
	})
	return func() {
		signal.Stop(signals)
		close(signals) // nothing is sent any more
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
