package delivery

import (
	"context"
	"sync"
	"time"
)

// Memory is what a channel must remember beside the notes: windows, offsets,
// topics, ids of uploads. Where many machines share the work, they share it
// too. Keys and values are kept like personal data: sealed where the store is.
type Memory interface {
	// Get returns the value of a key, ErrNotFound when there is none or its
	// time is over.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put keeps a value, in place of the one before. On disk when it returns.
	Put(ctx context.Context, e Entry) error
	// Add keeps a value unless the key has one, and says whether it did: what
	// comes twice is done once.
	Add(ctx context.Context, e Entry) (added bool, err error)
	// Take returns the value of a key and forgets it: one taker gets it, all
	// others ErrNotFound.
	Take(ctx context.Context, key string) ([]byte, error)
	// Delete forgets a key; it is no error that there is none.
	Delete(ctx context.Context, key string) error
}

// Entry is one value of a Memory.
type Entry struct {
	Key   string
	Value []byte
	// For is how long it is kept; 0 for good.
	For time.Duration
	// Mailbox is whose it is: erased with the mailbox. "" for nobody's.
	Mailbox string
	// Note is the id of the note which it comes from, "" for none. What is left
	// to keep of a note when that has been erased with its mailbox is not kept.
	Note string
}

// Scratch is a Memory that ends with the process, for a channel that is only
// tried. The zero value is ready.
type Scratch struct {
	mu      sync.Mutex
	entries map[string]scratched
}

type scratched struct {
	value []byte
	until time.Time // zero for good
}

// Get implements Memory.
func (s *Scratch) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(key)
}

func (s *Scratch) get(key string) ([]byte, error) {
	e, ok := s.entries[key]
	if !ok || (!e.until.IsZero() && !time.Now().Before(e.until)) {
		return nil, ErrNotFound
	}
	return e.value, nil
}

// Put implements Memory.
func (s *Scratch) Put(_ context.Context, e Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(e)
	return nil
}

func (s *Scratch) put(e Entry) {
	if s.entries == nil {
		s.entries = map[string]scratched{}
	}
	kept := scratched{value: e.Value}
	if e.For > 0 {
		kept.until = time.Now().Add(e.For)
	}
	s.entries[e.Key] = kept
}

// Add implements Memory.
func (s *Scratch) Add(_ context.Context, e Entry) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.get(e.Key); err == nil {
		return false, nil
	}
	s.put(e)
	return true, nil
}

// Take implements Memory.
func (s *Scratch) Take(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, err := s.get(key)
	delete(s.entries, key)
	return value, err
}

// Delete implements Memory.
func (s *Scratch) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, key)
	return nil
}
