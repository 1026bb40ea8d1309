package config

import "sync/atomic"

// Standing is how a directory stands.
type Standing struct {
	Mailboxes int  // that its files name
	Up        bool // its CSV file could be read the last time, and its service answered the last time

	// Questions to the service, by what came of them: a mailbox, none, no answer.
	Found, None, Failed uint64
}

// asked counts questions to services. The zero value is ready.
type asked struct{ found, none, failed atomic.Uint64 }

// count counts a question that has come to something.
func (c *asked) count(m *Mailbox, answered bool) {
	switch {
	case !answered:
		c.failed.Add(1)
	case m == nil:
		c.none.Add(1)
	default:
		c.found.Add(1)
	}
}

// Standing says how the directory stands.
func (d *Directory) Standing() Standing {
	sources := d.sources.Load()
	s := Standing{
		Up:    !d.sheetDown.Load() && (sources.service == nil || !sources.service.down()),
		Found: d.asked.found.Load(), None: d.asked.none.Load(), Failed: d.asked.failed.Load(),
	}
	for _, x := range sources.local {
		s.Mailboxes += len(x.mailboxes)
	}
	return s
}
