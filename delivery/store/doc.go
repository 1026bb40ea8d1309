// Package store keeps drafts, notes and jobs on this machine. It implements
// every interface of delivery/store.go.
//
// # What lies where
//
// Below Options.Path:
//
//	lock             held by the one process that has the store open; its pid
//	store.db         rows of notes, jobs, events, links and what channels remember (sqlite, WAL,
//	                 synchronous=FULL); what is deleted is overwritten
//	ballast          room that is given up when the disk is full (ballast.go)
//	tapes/START/ID   what arrived on a call, record by record (see frame.go)
//	notes/START/ID   the rendered file of a note
//
// START is the first five characters of the id: one folder for each 2.3 hours.
// A row is the truth, a file alone means nothing: a note's file counts from
// the commit that makes its row rendered.
//
// # What is sealed
//
// With a key file (keyfile.go), each note has a key of its own, wrapped in its
// row by the file's first key (vault.go). With it a box (box.go) seals what says
// anything of a person: the note's body, its chains, its events, each record of
// its tape and its file. Links, secrets and what channels remember are sealed by
// the store's own box. What is looked up (mailboxes, threads, receipts, keys of
// what is remembered) is a keyed hash. Ids, states and times stay as they are. In
// clear the same boxes pass everything through, and a store in clear is sealed at
// its first start with a key file (seal.go).
//
// What retention takes (retire.go) and what is erased (erase.go) goes in three
// steps, so that a crash leaves no file that nobody knows of: the row says that
// its files are gone, the files go, the row goes (remove.go).
//
// # What is safe when
//
//	Begin     the row is on disk, the tape's room is reserved
//	Append    the record survives the process at once, a power cut after a second
//	Recorded  the tape and its row are on disk
//	Rendered  the file, the row, its jobs and their first attempts are on disk
//
// Rows are written by one goroutine that commits up to 64 waiting operations
// together (writer.go); tapes that are being written are synced together once
// a second (flush.go). The disk's first refusal to sync ends the store's work:
// what a failed fsync dropped, a second one reports as written. A disk that is
// full, or a quota of it that is used up, ends nothing: no call is taken, and the
// ballast makes room to record what becomes of the notes that are there. A note
// that cannot be opened, since its key is missing or its row is damaged, is told of
// and keeps none of the others back; put right, it goes out (unread.go).
package store
