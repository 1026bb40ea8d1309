package config

import "github.com/afterbeep/afterbeep/sip"

// private stands among the blocked callers for those who hide their number.
const private = "private"

// Blocks says whether the mailbox does not take calls of a caller. Numbers are
// compared in E.164, read with the country of the trunk.
func (m *Mailbox) Blocks(c sip.Caller, country string) bool {
	for _, blocked := range m.Blocked {
		if c.Private || c.Number == "" {
			if blocked == private {
				return true
			}
			continue
		}
		if blocked == c.Number || sip.Normalize(blocked, country) == c.Number {
			return true
		}
	}
	return false
}
