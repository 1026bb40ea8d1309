package delivery

import "time"

// Erasure is the proof that a mailbox was erased.
type Erasure struct {
	At         time.Time
	Notes      int   // that were erased, with their recordings, jobs and events
	Files      int   // recordings and rendered files
	Bytes      int64 // in them
	InProgress int   // calls that are being recorded or rendered now: their notes are not erased
	Proof      []ErasedNote
}

// ErasedNote names a note that was erased.
type ErasedNote struct {
	ID     string
	SHA256 string // of its file, hex; "" when it had none
}
