package store

import (
	"context"
	"database/sql"
	"fmt"
)

// step leads from one schema version to the next.
type step struct {
	script string
	finish func(context.Context, *sql.Conn) error // what takes more than sqlite knows; nil for nothing
}

// upgrades are the steps from an empty database on: step i leads from version
// i to i+1. A step that was released is never changed.
func upgrades() []step { return []step{{version1, nil}, {version2, hashLinks}} }

// Times are microseconds since 1970, 0 for never.
//
// The head of a thread is its one job that may be sent: the others of the
// thread wait until it is delivered or dead.
const version1 = `
CREATE TABLE note (
	id          TEXT PRIMARY KEY,
	state       TEXT NOT NULL,
	mailbox     TEXT NOT NULL,
	body        TEXT NOT NULL,              -- delivery.Note as JSON; what the other columns hold is taken from them
	rendered_at INTEGER NOT NULL DEFAULT 0,
	read_at     INTEGER NOT NULL DEFAULT 0,
	played_at   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX note_mailbox ON note (mailbox, id);
CREATE INDEX note_unfinished ON note (id) WHERE state IN ('recording', 'recorded');

CREATE TABLE job (
	seq      INTEGER PRIMARY KEY,
	id       TEXT NOT NULL UNIQUE,
	note     TEXT NOT NULL,
	thread   BLOB NOT NULL,
	chain    TEXT NOT NULL,                 -- JSON array of targets
	state    TEXT NOT NULL,
	head     INTEGER NOT NULL DEFAULT 0,    -- 1 for the head of the thread
	step     INTEGER NOT NULL DEFAULT 0,
	attempt  INTEGER NOT NULL DEFAULT 0,    -- at this step
	unknown  INTEGER NOT NULL DEFAULT 0,    -- one bit a step: an attempt there may have arrived
	first_at INTEGER NOT NULL DEFAULT 0,    -- of the first attempt at this step
	next_at  INTEGER NOT NULL,
	receipt  TEXT NOT NULL DEFAULT ''       -- the service's id of the message
) STRICT;
CREATE INDEX job_note ON job (note);
CREATE INDEX job_state ON job (state, note) WHERE state <> 'delivered';
CREATE UNIQUE INDEX job_head ON job (thread) WHERE head = 1;
CREATE INDEX job_behind ON job (thread, note) WHERE state = 'queued' AND head = 0;
CREATE INDEX job_due ON job (next_at) WHERE state = 'queued' AND head = 1;
CREATE INDEX job_fresh ON job (next_at) WHERE state = 'queued' AND head = 1 AND attempt = 0;

CREATE TABLE event (
	seq    INTEGER PRIMARY KEY,
	note   TEXT NOT NULL,
	job    TEXT NOT NULL,
	at     INTEGER NOT NULL,
	name   TEXT NOT NULL,
	target TEXT NOT NULL,
	detail TEXT NOT NULL
) STRICT;
CREATE INDEX event_note ON event (note);

CREATE TABLE link (
	mailbox TEXT PRIMARY KEY,
	token   TEXT NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
	name  TEXT PRIMARY KEY,
	value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
`

// schemaVersion is the version of the database, 0 for a new one. A schema from
// a newer program is refused: what it keeps there is not this program's to
// guess.
func schemaVersion(ctx context.Context, conn *sql.Conn) (version int, err error) {
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, err
	}
	if known := len(upgrades()); version > known {
		return 0, fmt.Errorf("a newer program wrote this store (schema %d, this one knows %d): run that version or a later one", version, known)
	}
	return version, nil
}

// upgrade brings the database from version to this program's schema, step by
// step, each in a transaction of its own.
func upgrade(ctx context.Context, conn *sql.Conn, version int) error {
	for i, next := range upgrades()[version:] {
		if err := next.run(ctx, conn, version+i+1); err != nil {
			_, _ = conn.ExecContext(ctx, "ROLLBACK")
			return fmt.Errorf("bring the database to schema %d: %w", version+i+1, err)
		}
	}
	return nil
}

func (s step) run(ctx context.Context, conn *sql.Conn, version int) error {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE; "+s.script); err != nil {
		return err
	}
	if s.finish != nil {
		if err := s.finish(ctx, conn); err != nil {
			return err
		}
	}
	_, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d; COMMIT", version))
	return err
}
