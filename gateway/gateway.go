package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store"
	"github.com/afterbeep/afterbeep/gateway/call"
	"github.com/afterbeep/afterbeep/gateway/control"
	"github.com/afterbeep/afterbeep/gateway/lamp"
	"github.com/afterbeep/afterbeep/gateway/web"
	"github.com/afterbeep/afterbeep/media"
	"github.com/afterbeep/afterbeep/sip"
)

// gateway is the rooms, wired: what `serve` and `demo` run.
type gateway struct {
	cfg     *config.Config
	log     *slog.Logger
	store   keeper
	fleet   *store.Fleet // the store where many machines share the work, else nil
	sip     *sip.Server
	web     *web.Server
	http    net.Listener
	control net.Listener
	worker  *delivery.Worker
	path    *call.Path
	lamps   *lamp.Lamps
	metrics *web.Metrics
	records io.Closer

	directory *config.Directory
	contacts  *config.Contacts
	channels  map[string]delivery.Channel
	draining  atomic.Bool
	hasTrunks atomic.Bool // beside the accounts
}

var errDraining = errors.New("draining: no new calls are taken")

// open readies every room, from the store up; nothing runs yet. What cannot be
// opened is an error that says what to mend.
func open(ctx context.Context, cfg *config.Config, log *slog.Logger) (g *gateway, err error) {
	g = &gateway{cfg: cfg, log: log, metrics: web.NewMetrics(versionText()), lamps: lamp.New(cfg.SIP.Trunks, log)}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if err := g.openStore(); err != nil {
		return g, err
	}
	if g.control, err = control.Listen(ctx, cfg.Store.Path); err != nil {
		return g, err
	}
	if err := g.openDirectory(); err != nil {
		return g, err
	}
	if err := g.openDelivery(); err != nil {
		return g, err
	}
	if err := g.openCalls(ctx); err != nil {
		return g, err
	}
	return g, g.openWeb(ctx)
}

func (g *gateway) openDelivery() error {
	if err := g.openChannels(); err != nil {
		return err
	}
	g.worker = delivery.NewWorker(g.store, g.store, g.channels, delivery.WorkerOptions{
		Observer: g.metrics,
		Limiter:  g.limiter(),
		Now:      g.store.Now,
		Page:     func(id string, expires time.Time) string { return g.web.Page(id, expires) },
		Link:     func(id string, expires time.Time) string { return g.web.Link(id, expires) },
		Convert:  newConverter(g.store).convert,
	}, g.log)
	return nil
}

func (g *gateway) openCalls(ctx context.Context) error {
	engine, err := media.NewEngine(g.mediaOptions(ctx), g.log)
	if err != nil {
		return err
	}
	if err := tryMedia(ctx, g.cfg.Media.Address); err != nil { // else each call would be answered 503
		return fmt.Errorf("media.address: %s: %s", g.cfg.Media.Address, bindFault(err))
	}
	records, err := g.openRecords(ctx)
	if err != nil {
		return err
	}
	g.contacts = config.NewContacts(g.cfg, g.log)
	g.path = &call.Path{
		Directory: g.directory, Contacts: g.contacts, Engine: engine, Renderers: media.NewRenderers(media.RenderersOptions{}),
		Drafts: g.store, Deliver: g.worker.Deliver, Records: records,
		Metrics: callMetrics{g.metrics}, MaxDuration: g.cfg.Media.MaxDuration, Log: g.log,
	}
	options := g.cfg.SIP
	g.hasTrunks.Store(len(options.Trunks) > 0)
	options.NewID = delivery.NewID
	options.Ready = (&readiness{ask: g.store.Ready}).now
	options.Lamps = lamp.Mailboxes{Directory: g.directory, Inbox: g.store, May: g.path.MaySubscribe}
	g.sip, err = sip.Listen(options, g.log)
	return err
}

// openRecords opens the file of call records, if there is to be one.
func (g *gateway) openRecords(ctx context.Context) (*call.Records, error) {
	var out io.Writer
	switch path := g.cfg.Log.CallRecords; path {
	case "":
		return nil, nil
	case "-":
		out = os.Stdout
	default:
		file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("log.call_records: %w", err)
		}
		out, g.records = file, file
	}
	key, err := g.store.SigningKey(ctx)
	if err != nil {
		return nil, err
	}
	return call.NewRecords(out, key, g.cfg.Log.RecordNumbers == "plain"), nil
}

func (g *gateway) openWeb(ctx context.Context) (err error) {
	var lc net.ListenConfig
	if g.http, err = lc.Listen(ctx, "tcp", g.cfg.HTTP.Listen.String()); err != nil {
		return fmt.Errorf("http.listen: %s: %s", g.cfg.HTTP.Listen, bindFault(err))
	}
	g.readMetrics()
	g.web, err = web.New(ctx, web.Options{
		Notes: g.store, Inbox: g.store, Links: g.store, Keeper: g.store, Directory: mailboxes{g.directory, g.store}, Metrics: g.metrics, Log: g.log,
		MP3: media.MP3, Callbacks: g.callbacks(), Linkables: g.linkables(), LinkableFor: g.linkableFor,
		Ready: g.ready, PublicURL: g.cfg.HTTP.PublicURL, AdminToken: g.cfg.HTTP.AdminToken,
	})
	return err
}

func (g *gateway) ready(ctx context.Context) error {
	if g.draining.Load() {
		return errDraining
	}
	return errors.Join(g.store.Ready(ctx), g.reachable())
}

// run takes calls until ctx ends; then it drains: no new calls, those in
// progress finish, unless abort ends them at once.
func (g *gateway) run(ctx context.Context, abort <-chan struct{}) error {
	defer g.share(context.WithoutCancel(ctx))() // the rooms' last words go to the other machines too
	rooms, work := errgroup.WithContext(context.WithoutCancel(ctx))
	work, stop := context.WithCancel(work)
	defer stop()
	listening, silence := context.WithCancel(context.WithoutCancel(ctx))
	rooms.Go(func() error {
		defer silence() // what chat services tell of the last notes is heard too
		g.worker.Run(work)
		return nil
	})
	for name, c := range g.channels {
		if runner, ok := c.(delivery.Runner); ok {
			rooms.Go(func() error { g.listen(listening, name, runner); return nil })
		}
	}
	rooms.Go(func() error { g.path.Run(work); return nil })
	rooms.Go(func() error { g.retain(work); return nil })
	rooms.Go(func() error { g.tellLamps(work); return nil })
	rooms.Go(func() error { g.directory.Run(work); return nil })
	rooms.Go(func() error {
		return control.Serve(work, g.control, g.store, control.Gateway{Addresses: g.addresses(), Ready: g.ready, Try: g.try, Chats: g, Mailbox: g.mailbox})
	})
	rooms.Go(func() error { return g.web.Serve(g.http) })
	rooms.Go(func() error { return g.sip.Serve(work, g.path.Handle) })
	rooms.Go(func() error {
		select {
		case <-ctx.Done():
			g.drain(context.WithoutCancel(ctx), abort)
		case <-work.Done(): // a room has failed
		}
		err := g.sip.Close()
		stop()
		quick, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return errors.Join(err, g.web.Shutdown(quick))
	})
	return rooms.Wait()
}

// drain waits for the calls in progress.
func (g *gateway) drain(ctx context.Context, abort <-chan struct{}) {
	g.draining.Store(true)
	g.sip.Drain()
	g.log.Info("draining: calls in progress finish, new ones are refused", "calls", g.sip.Active())
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Media.MaxDuration+10*time.Second)
	defer cancel()
	go func() {
		select {
		case <-abort:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := g.sip.Wait(ctx); err != nil {
		g.log.Warn("calls in progress are cut off; their notes are kept as partial", "calls", g.sip.Active())
	}
}

// close lets go of what open took, in reverse order.
func (g *gateway) close() error {
	var errs []error
	if g.http != nil {
		_ = g.http.Close() // closed already when it was served
	}
	if g.sip != nil {
		errs = append(errs, g.sip.Close())
	}
	for _, c := range g.channels {
		if closer, ok := c.(io.Closer); ok {
			errs = append(errs, closer.Close())
		}
	}
	if g.control != nil {
		_ = g.control.Close()
	}
	if g.directory != nil {
		errs = append(errs, g.directory.Close())
	}
	if g.records != nil {
		errs = append(errs, g.records.Close())
	}
	if g.store != nil {
		errs = append(errs, g.store.Close())
	}
	return errors.Join(errs...)
}
