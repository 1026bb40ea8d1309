package delivery

import "time"

// Retention is how long a mailbox's notes are kept once every chain of theirs
// is done, delivered or dead; 0 is for ever.
type Retention struct {
	Audio    time.Duration `yaml:"audio" help:"how long a note's sound stays once every chain of it is done; 0s for ever"`
	Metadata time.Duration `yaml:"metadata" help:"how long the rest of it stays: who called, when, and what became of it; 10d or more, 0s for ever"`
}

// LeastMetadata is how long rows stay at least: they are the ledger that keeps
// a note from being delivered a second time.
const LeastMetadata = 10 * 24 * time.Hour

// Retired counts what retention took.
type Retired struct {
	Audio   int // notes that lost their files
	Notes   int // notes that are gone as a whole
	Orphans int // tapes without a note
}
