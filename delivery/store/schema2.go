package store

import (
	"context"
	"database/sql"
	"encoding/json"
)

// version2 makes room for what lies sealed (see vault.go), for jobs whose
// schedule many machines share, and for retention and erasing.
//
// A mailbox is kept as vault.index has it. A body, a chain and a note's key are
// sealed by a box, or as they are in a store in clear.
const version2 = `
CREATE TABLE note2 (
	id          TEXT PRIMARY KEY,
	state       TEXT NOT NULL,
	mailbox     TEXT NOT NULL,
	key         BLOB NOT NULL DEFAULT x'',  -- the note's key, wrapped; empty in clear
	body        BLOB NOT NULL,              -- delivery.Note as JSON; what the other columns hold is taken from them
	rendered_at INTEGER NOT NULL DEFAULT 0,
	read_at     INTEGER NOT NULL DEFAULT 0,
	played_at   INTEGER NOT NULL DEFAULT 0,
	ended_at    INTEGER NOT NULL DEFAULT 0, -- when the last of its jobs was delivered or dead, 0 while one is under way
	files       INTEGER NOT NULL DEFAULT 1  -- 0 once its tape and file were removed
) STRICT, WITHOUT ROWID;
INSERT INTO note2 (id, state, mailbox, body, rendered_at, read_at, played_at, ended_at)
	SELECT id, state, mailbox, CAST(body AS BLOB), rendered_at, read_at, played_at,
		CASE WHEN state <> 'rendered' OR EXISTS (SELECT 1 FROM job WHERE job.note = note.id AND job.state IN ('queued', 'sending')) THEN 0
		ELSE coalesce((SELECT max(at) FROM event WHERE event.note = note.id AND event.name IN ('done', 'dead')), rendered_at) END
	FROM note;
DROP TABLE note;
ALTER TABLE note2 RENAME TO note;
CREATE INDEX note_mailbox ON note (mailbox, id);
CREATE INDEX note_unfinished ON note (id) WHERE state IN ('recording', 'recorded');
CREATE INDEX note_ended ON note (ended_at) WHERE ended_at > 0;

CREATE TABLE job2 (
	seq      INTEGER PRIMARY KEY,
	id       TEXT NOT NULL UNIQUE,
	note     TEXT NOT NULL,
	thread   BLOB NOT NULL,
	chain    BLOB NOT NULL,                 -- JSON array of targets
	state    TEXT NOT NULL,
	head     INTEGER NOT NULL DEFAULT 0,    -- 1 for the head of the thread, which is queued or sending
	step     INTEGER NOT NULL DEFAULT 0,
	attempt  INTEGER NOT NULL DEFAULT 0,    -- at this step
	unknown  INTEGER NOT NULL DEFAULT 0,    -- one bit a step: an attempt there may have arrived
	first_at INTEGER NOT NULL DEFAULT 0,    -- of the first attempt at this step
	next_at  INTEGER NOT NULL,
	receipt  TEXT NOT NULL DEFAULT '',      -- the service's id of the message, as vault.index has it
	steps    INTEGER NOT NULL,              -- targets in its chain
	shared   INTEGER NOT NULL DEFAULT 0,    -- 0: this machine's alone; 1: meant for all machines, perhaps told; 2: they have it. It is a head here only with 0
	round    INTEGER NOT NULL DEFAULT 0,    -- of a shared job: how often it was redriven
	epoch    INTEGER NOT NULL DEFAULT 0,    -- of a shared job: of its last lease that is known here
	waits    INTEGER NOT NULL DEFAULT 0,    -- until next_at, 1: to be asked for; 3: for a report; and 2 or 4: it was asked for or came back, and is due
	void     INTEGER NOT NULL DEFAULT 0,    -- of a shared job: deliveries of earlier rounds do not count, its service took them back
	told     INTEGER NOT NULL DEFAULT 0     -- 1: the operator knows that it was delivered
) STRICT;
INSERT INTO job2 SELECT seq, id, note, thread, CAST(chain AS BLOB), state, head, step, attempt, unknown, first_at, next_at, receipt, json_array_length(chain), 0, 0, 0, 0, 0, 0 FROM job;
DROP TABLE job;
ALTER TABLE job2 RENAME TO job;
CREATE INDEX job_note ON job (note);
CREATE INDEX job_state ON job (state, note) WHERE state <> 'delivered';
CREATE UNIQUE INDEX job_head ON job (thread) WHERE head = 1;
CREATE INDEX job_behind ON job (thread, note) WHERE head = 0 AND state IN ('queued', 'sending'); -- with job_head, all of a thread: each job under way is in one of them
CREATE INDEX job_due ON job (next_at) WHERE state = 'queued' AND head = 1;
CREATE INDEX job_fresh ON job (next_at) WHERE state = 'queued' AND head = 1 AND attempt = 0;
CREATE INDEX job_shared ON job (note) WHERE shared > 0 AND state <> 'delivered';
CREATE INDEX job_untold ON job (note) WHERE shared = 1 AND state IN ('queued', 'sending');

CREATE TABLE event2 (
	seq   INTEGER PRIMARY KEY,
	note  TEXT NOT NULL,
	job   TEXT NOT NULL,
	at    INTEGER NOT NULL,
	name  TEXT NOT NULL,
	body  BLOB NOT NULL,                    -- eventBody as JSON
	epoch INTEGER NOT NULL DEFAULT 0        -- of a shared job: of the lease it is about
) STRICT;
INSERT INTO event2 SELECT seq, note, job, at, name, CAST(json_object('target', target, 'detail', detail) AS BLOB), 0 FROM event;
DROP TABLE event;
ALTER TABLE event2 RENAME TO event;
CREATE INDEX event_note ON event (note);
CREATE UNIQUE INDEX event_epoch ON event (job, epoch, name) WHERE epoch > 0; -- what is heard twice is kept once

ALTER TABLE link RENAME TO link1;
CREATE TABLE link (
	mailbox TEXT PRIMARY KEY,
	token   BLOB NOT NULL UNIQUE,           -- SHA-256 of the token
	body    BLOB NOT NULL                   -- linkBody as JSON
) STRICT, WITHOUT ROWID;

-- What chat services told of this machine's jobs: what is told again is known.
CREATE TABLE report (
	job     TEXT NOT NULL,
	step    INTEGER NOT NULL,               -- the target that it is about
	what    TEXT NOT NULL,                  -- delivery.What
	note    TEXT NOT NULL,
	settles INTEGER NOT NULL,               -- 1: the job is delivered, or will be when its lease ends
	open    INTEGER NOT NULL,               -- 1: asked or bounced while the job was being sent, to be honoured when its lease ends
	PRIMARY KEY (job, step, what)
) STRICT, WITHOUT ROWID;
CREATE INDEX report_note ON report (note);

-- An attempt of this machine at a shared job, its own or another machine's.
CREATE TABLE attempt (
	job      TEXT NOT NULL,
	epoch    INTEGER NOT NULL,
	note     TEXT NOT NULL,
	mailbox  TEXT NOT NULL,                 -- vault.alias of the note's
	home     TEXT NOT NULL,                 -- the machine that keeps the note
	key      BLOB NOT NULL,                 -- the note's, wrapped
	body     BLOB NOT NULL,                 -- shared.Job as JSON, as it was leased
	began_at INTEGER NOT NULL,
	outcome  TEXT NOT NULL DEFAULT '',      -- delivery.Outcome, or returned; '' while it is under way
	ended_at INTEGER NOT NULL DEFAULT 0,
	next_at  INTEGER NOT NULL DEFAULT 0,    -- when the job may be tried again
	receipt  TEXT NOT NULL DEFAULT '',
	event    BLOB NOT NULL DEFAULT x'',     -- eventBody as JSON
	settled  INTEGER NOT NULL DEFAULT 0,    -- 1: the other machines know the outcome
	round    INTEGER NOT NULL DEFAULT 0,    -- of the job
	arrived  INTEGER NOT NULL DEFAULT 0,    -- delivery.Result.Arrived
	waits    INTEGER NOT NULL DEFAULT 0,    -- as in job, of what the job waits for then
	PRIMARY KEY (job, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_settled ON attempt (settled, began_at);
CREATE INDEX attempt_note ON attempt (note);
CREATE INDEX attempt_mailbox ON attempt (mailbox, note);

-- What chat services told this machine of shared jobs, its own or another
-- machine's.
CREATE TABLE relay (
	job      TEXT NOT NULL,
	channel  TEXT NOT NULL,
	what     TEXT NOT NULL,                 -- delivery.What
	note     TEXT NOT NULL DEFAULT '',      -- '' and -1 for what is not known yet
	mailbox  TEXT NOT NULL DEFAULT '',      -- vault.alias of the note's
	home     TEXT NOT NULL DEFAULT '',      -- the machine that keeps the note
	shard    INTEGER NOT NULL DEFAULT -1,
	step     INTEGER NOT NULL DEFAULT -1,   -- the target that it is about
	round    INTEGER NOT NULL DEFAULT -1,   -- of the job when Redis was told
	settles  INTEGER NOT NULL,
	arrived  INTEGER NOT NULL,
	body     BLOB NOT NULL,                 -- relayed as JSON, sealed for all machines
	heard_at INTEGER NOT NULL,
	told     INTEGER NOT NULL DEFAULT 0,    -- 1: the other machines know it; more: how often it was proclaimed
	PRIMARY KEY (job, channel, what)
) STRICT, WITHOUT ROWID;
CREATE INDEX relay_told ON relay (told, heard_at);
CREATE INDEX relay_note ON relay (note);
CREATE INDEX relay_mailbox ON relay (mailbox, note);

-- What channels remember. What was forgotten stays for a while without its
-- value, so that no machine brings it back.
CREATE TABLE memory (
	key     TEXT PRIMARY KEY,               -- vault.memoryKey
	mailbox TEXT NOT NULL,                  -- vault.alias of whose it is, '' for nobody's
	value   BLOB NOT NULL,                  -- empty when it was forgotten
	until   INTEGER NOT NULL,               -- when its time is over, 0 for never
	at      INTEGER NOT NULL,               -- when it was changed, in milliseconds: the latest change counts
	gone    INTEGER NOT NULL,               -- 1: it was forgotten
	told    INTEGER NOT NULL DEFAULT 0      -- 1: the other machines know
) STRICT, WITHOUT ROWID;
CREATE INDEX memory_mailbox ON memory (mailbox) WHERE mailbox <> '';
CREATE INDEX memory_until ON memory (until) WHERE until > 0;
CREATE INDEX memory_untold ON memory (key) WHERE told = 0;

-- What was erased is not taken back from elsewhere.
CREATE TABLE erasure (
	mailbox TEXT PRIMARY KEY,               -- vault.alias of it
	upto    TEXT NOT NULL,                  -- the newest note of it
	at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`

// hashLinks takes the links of version 1 over: sqlite knows no SHA-256.
func hashLinks(ctx context.Context, conn *sql.Conn) error {
	rows, err := conn.QueryContext(ctx, "SELECT mailbox, token FROM link1")
	links, err := collect(rows, err, func(r scanner) (l linkBody, err error) { return l, r.Scan(&l.Mailbox, &l.Token) })
	if err != nil {
		return err
	}
	for _, l := range links {
		body, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, "INSERT INTO link VALUES (?, ?, ?)", l.Mailbox, tokenHash(l.Token), body); err != nil {
			return err
		}
	}
	_, err = conn.ExecContext(ctx, "DROP TABLE link1")
	return err
}
