package delivery

import "time"

// exportedNote is an entry of an export's notes.json.
type exportedNote struct {
	ID         string          `json:"id"`
	Kind       Kind            `json:"kind"`
	State      State           `json:"state"`
	Mailbox    exportedMailbox `json:"mailbox"`
	Caller     exportedCaller  `json:"caller"`
	Reason     string          `json:"reason,omitempty"`
	Trunk      string          `json:"trunk,omitempty"`
	CalledAt   time.Time       `json:"called_at"`
	EndedAt    time.Time       `json:"ended_at,omitzero"`
	ReadAt     time.Time       `json:"read_at,omitzero"`
	PlayedAt   time.Time       `json:"played_at,omitzero"`
	DurationMS int64           `json:"duration_ms"`
	Partial    bool            `json:"partial"`
	Unreadable string          `json:"unreadable,omitempty"` // what to mend: id, mailbox and called_at alone are known
	Audio      *exportedAudio  `json:"audio"`                // null when nobody spoke
	Jobs       []exportedJob   `json:"jobs"`
	Events     []exportedEvent `json:"events"`
}

type exportedMailbox struct {
	Number string `json:"number"`
	Name   string `json:"name,omitempty"`
}

type exportedCaller struct {
	Number  string `json:"number,omitempty"`
	Name    string `json:"name,omitempty"`
	Private bool   `json:"private"`
	Trust   string `json:"trust,omitempty"` // verified or doubtful
}

type exportedAudio struct {
	File   string `json:"file,omitempty"` // in the zip
	Type   string `json:"type"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Absent string `json:"absent,omitempty"` // why there is no file
}

type exportedJob struct {
	ID      string    `json:"id"`
	State   JobState  `json:"state"`
	Chain   Chain     `json:"chain"`
	Step    int       `json:"step"` // the target of the chain whose turn it is, from 0
	Attempt int       `json:"attempt"`
	NextAt  time.Time `json:"next_at,omitzero"`
	Waits   bool      `json:"waits_for_report,omitempty"`
}

type exportedEvent struct {
	At     time.Time `json:"at"`
	Job    string    `json:"job,omitempty"`
	Name   string    `json:"name"`
	Target string    `json:"target,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

// view is a note's life as notes.json has it.
func (e *export) view(l Life) exportedNote {
	n := l.Note
	v := exportedNote{
		ID: n.ID, Kind: n.Kind, State: n.State,
		Mailbox: exportedMailbox{n.Recipient.Number, n.Recipient.Name},
		Caller:  exportedCaller(n.Caller),
		Reason:  n.Reason, Trunk: n.Trunk,
		CalledAt: n.CalledAt, EndedAt: n.EndedAt, ReadAt: n.ReadAt, PlayedAt: n.PlayedAt,
		DurationMS: n.Duration.Milliseconds(), Partial: n.Partial,
		Audio: e.audioView(n), Jobs: []exportedJob{}, Events: []exportedEvent{},
	}
	for _, j := range l.Jobs {
		v.Jobs = append(v.Jobs, exportedJob(j))
	}
	for _, x := range l.Events {
		v.Events = append(v.Events, exportedEvent(x))
	}
	return v
}

// unreadable is all that is known of a note that cannot be read.
func (e *export) unreadable(id string) exportedNote {
	e.lost[id] = ErrUnreadable
	v := e.view(Life{Note: Note{ID: id, CalledAt: MintedAt(id), Recipient: Recipient{Number: e.mailbox}}})
	v.Unreadable = ErrUnreadable.Error()
	return v
}

func (e *export) audioView(n Note) *exportedAudio {
	if n.Media.Bytes == 0 {
		return nil
	}
	v := &exportedAudio{Type: n.Media.Type, Bytes: n.Media.Bytes, SHA256: n.Media.SHA256}
	switch lost := e.lost[n.ID]; {
	case e.has[n.ID]:
		v.File = audioName(n.ID)
	case lost != nil:
		v.Absent = lost.Error()
	default:
		v.Absent = "no longer kept"
	}
	return v
}
