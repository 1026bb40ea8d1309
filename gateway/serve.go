package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
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
		return serve(cmd.Context(), cfg, newLogger(cfg.Log))
	}
	return cmd
}

func serve(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	cfg.Store.Wait = 5 * time.Second // for a command that has the store open
	g, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	for _, l := range g.sip.Addrs() {
		log.Info("listening", "sip", l.String())
	}
	log.Info("listening", "http", g.http.Addr().String())
	log.Info("ready", "version", versionText(), "mailboxes", len(cfg.Mailboxes), "trunks", len(cfg.SIP.Trunks))
	err = g.run(ctx, secondSignal(ctx))
	log.Info("stopped")
	return errors.Join(err, g.close())
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

func newLogger(o config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(o.Level)) // the file allows only levels
	options := &slog.HandlerOptions{Level: level}
	if o.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}
