package main

import (
	"context"
	"slices"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
)

// directoryMemory is where what the directory service said is remembered: no
// channel has a colon in its name.
const directoryMemory = ":directory"

// openDirectory reads the mailboxes.
func (g *gateway) openDirectory() (err error) {
	g.directory, err = config.OpenDirectory(g.cfg, g.store.Memory(directoryMemory), g.log)
	return err
}

// mailboxes are those that an admin is shown: those that the directory names,
// and then those whose notes came of late. A range, a wildcard or a service
// names none by itself.
type mailboxes struct {
	*config.Directory

	notes delivery.Notes
}

// lateNotes is how many notes are looked at for their mailboxes.
const lateNotes = 500

// Search implements web.Directory.
func (m mailboxes) Search(ctx context.Context, query string, most int) (found []delivery.Recipient, more bool) {
	found, more = m.Directory.Search(ctx, query, most)
	if more {
		return found, true
	}
	late, err := m.notes.List(ctx, delivery.Filter{Limit: lateNotes})
	if err != nil {
		return found, false // the page of a mailbox says what is wrong with the store
	}
	search := delivery.NewSearch(query)
	listed := map[string]bool{}
	for _, r := range found {
		listed[r.Number] = true
	}
	for _, n := range late {
		r := n.Note.Recipient
		if n.Unreadable || listed[r.Number] || !search.Finds(r.Name, r.Number) {
			continue
		}
		if listed[r.Number] = true; len(found) == most {
			return found, true
		}
		found = append(found, r)
	}
	return found, false
}

// linkableFor names the channels that a mailbox's chains name without an
// address: what they lead to is for the mailbox to say.
func (g *gateway) linkableFor(ctx context.Context, mailbox string) []string {
	m, err := g.directory.Lookup(ctx, mailbox, "")
	if err != nil {
		return nil
	}
	return openTargets(m)
}

// openTargets names the channels that a mailbox's chains name without an
// address, each once.
func openTargets(m *config.Mailbox) (names []string) {
	for _, chain := range m.Chains() {
		for _, t := range chain {
			if t.Address == "" && !slices.Contains(names, t.Channel) {
				names = append(names, t.Channel)
			}
		}
	}
	return names
}

// languageOf is the language of a mailbox's texts, "" for one that is not known.
func (g *gateway) languageOf(mailbox string) string {
	if g.directory == nil { // a channel is only tried
		return ""
	}
	r, _ := g.directory.Recipient(context.Background(), mailbox) // it waits for a few seconds at most
	return r.Language
}
