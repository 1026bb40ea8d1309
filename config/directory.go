package config

import "github.com/afterbeep/afterbeep/delivery"

// Directory finds the mailbox of a number.
type Directory struct {
	mailboxes []Mailbox
	byUser    map[string]*Mailbox
}

// NewDirectory indexes the mailboxes; a look-up costs the same for one as for
// a hundred thousand.
func NewDirectory(mailboxes []Mailbox) *Directory {
	d := &Directory{mailboxes: mailboxes, byUser: make(map[string]*Mailbox, len(mailboxes))}
	for i := range mailboxes {
		d.byUser[mailboxes[i].Number] = &mailboxes[i]
	}
	return d
}

// Lookup returns the mailbox of a SIP user part as it came, or else of the
// same number in E.164 ("" for none).
func (d *Directory) Lookup(user, number string) (*Mailbox, bool) {
	if m, ok := d.byUser[user]; ok {
		return m, true
	}
	if number == "" {
		return nil, false
	}
	m, ok := d.byUser[number]
	return m, ok
}

// Recipient is the mailbox of a number, as a note names it.
func (d *Directory) Recipient(number string) (delivery.Recipient, bool) {
	m, ok := d.Lookup(number, "")
	if !ok {
		return delivery.Recipient{}, false
	}
	return m.Recipient(), true
}

// Recipients are all mailboxes, in the order of the file.
func (d *Directory) Recipients() []delivery.Recipient {
	all := make([]delivery.Recipient, len(d.mailboxes))
	for i := range d.mailboxes {
		all[i] = d.mailboxes[i].Recipient()
	}
	return all
}
