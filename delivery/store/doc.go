// Package store keeps drafts, notes and jobs on this machine: an embedded
// database (sqlite in WAL mode, synchronous=FULL, one writer that commits many
// operations together), and tapes and note files beside it. One process holds
// it at a time.
package store
