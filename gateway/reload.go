package main

import (
	"log/slog"

	"github.com/afterbeep/afterbeep/config"
)

// reload reads the file at path again and goes by what can change while calls
// go on: mailboxes, the directory, retention, contacts, trunks, limits, and the
// level of the log. Of the rest it says what a restart would change. A file with mistakes
// changes nothing.
func (g *gateway) reload(path string, level *slog.LevelVar) {
	next, err := config.Load(path)
	if err == nil {
		err = g.adopt(next)
	}
	if err != nil {
		g.log.Error("the configuration is not taken over; all stays as it is", "error", config.Logged(err))
		return
	}
	setLevel(level, next.Log.Level)
	g.log.Info("the configuration is read again", "mailboxes", g.directory.Standing().Mailboxes, "trunks", len(next.SIP.Trunks))
	if keys := g.cfg.NeedsRestart(next); len(keys) > 0 {
		g.log.Warn("settings have changed that count after a restart only", "keys", keys)
	}
}

// adopt takes over what a file says of mailboxes and trunks. Mailboxes are to
// deliver by the channels that run.
func (g *gateway) adopt(next *config.Config) error {
	adopted := *g.cfg
	adopted.Mailboxes, adopted.Directory, adopted.Retention, adopted.Contacts = next.Mailboxes, next.Directory, next.Retention, next.Contacts
	if err := adopted.CheckTargets(); err != nil {
		return err
	}
	if err := g.directory.Reload(&adopted); err != nil {
		return err
	}
	g.contacts.Reload(&adopted)
	g.sip.Reload(next.SIP)
	g.lamps.Reload(next.SIP.Trunks)
	g.hasTrunks.Store(len(next.SIP.Trunks) > 0)
	return nil
}
