package delivery

import "time"

// Erasure is the proof that a mailbox was erased.
type Erasure struct {
	At         time.Time    `json:"at"`
	Notes      int          `json:"notes"`       // that were erased, with their recordings, jobs and events
	Files      int          `json:"files"`       // recordings and rendered files
	Bytes      int64        `json:"bytes"`       // in them
	InProgress int          `json:"in_progress"` // calls under way on this machine, whose notes are not erased
	Proof      []ErasedNote `json:"proof"`

	// Where many machines share the work:
	Elsewhere int `json:"elsewhere,omitempty"` // notes that came in on other machines
	Machines  int `json:"machines,omitempty"`  // other machines that have erased what they had
	Behind    int `json:"behind,omitempty"`    // other machines that have not said so yet; they erase when they can be reached
}

// ErasedNote names a note that was erased.
type ErasedNote struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256,omitempty"` // of its file, hex; "" when it had none
}
