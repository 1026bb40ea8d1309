package shared

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Errors that a caller decides on. Whatever else an operation returns is one
// of the first two.
var (
	// ErrAway: nothing was changed, Redis cannot be used now.
	ErrAway = errors.New("the shared Redis cannot be used now")
	// ErrUncertain: the change may have been made or not; ask again.
	ErrUncertain = errors.New("the shared Redis gave no answer")
	// ErrGate is an ErrAway: this Redis may have forgotten something, and not
	// every machine has told it again.
	ErrGate = fmt.Errorf("%w: it is being told again what it may have forgotten", ErrAway)
	// ErrFenced: the lease is no longer held.
	ErrFenced = errors.New("the lease is no longer held")
	// ErrNotFound: no such note, link or setting here.
	ErrNotFound = errors.New("not in the shared Redis")
	// ErrBusy: a job of the note is still under way.
	ErrBusy = errors.New("a job of the note is under way")
	// ErrErased: the note is of before its mailbox was erased, and this machine is
	// yet to erase that: the note goes then, unless its call is under way.
	ErrErased = errors.New("the mailbox of the note was erased")

	errAnswer        = errors.New("an answer that this version cannot read")
	errNotReplicated = fmt.Errorf("%w: too few replicas have the write (replicas=N of store.redis)", ErrUncertain)
	errNotYet        = fmt.Errorf("%w: not connected yet", ErrAway)
	errClone         = fmt.Errorf("%w: another machine runs with a copy of this one's store; give one of them an empty store.path", ErrAway)
	errSilent        = fmt.Errorf("%w: it did not answer in time", ErrAway)
	errLonely        = fmt.Errorf("%w: too few replicas keep up with it (replicas=N of store.redis)", ErrAway)
	errNewer         = fmt.Errorf("%w: a newer version of this program keeps its data there; run that version", ErrAway)
	errEvicts        = fmt.Errorf("%w: it drops keys when its memory is full; set maxmemory-policy noeviction", ErrAway)
)

// refusals are the error replies after which nothing was changed. A script is
// refused at its first write or not at all.
func refusals() []string {
	return []string{
		"OOM ", "READONLY ", "NOSCRIPT ", "LOADING ", "CLUSTERDOWN ", "MASTERDOWN ", "NOREPLICAS ", "MISCONF ",
		"MOVED ", "ASK ", "TRYAGAIN ", "NOAUTH ", "WRONGPASS ", "NOPERM ", "BUSY ", "ERR max number of clients",
	}
}

// classed wraps an error of go-redis in ErrAway or ErrUncertain.
func classed(err error) error {
	if err == nil || errors.Is(err, ErrAway) || errors.Is(err, ErrUncertain) {
		return err
	}
	if certain(err) {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	return fmt.Errorf("%w: %w", ErrUncertain, err)
}

func certain(err error) bool {
	if errors.Is(err, redis.ErrClosed) || errors.Is(err, redis.ErrPoolTimeout) {
		return true
	}
	var dialing *net.OpError
	if errors.As(err, &dialing) && dialing.Op == "dial" {
		return true
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	for _, refusal := range refusals() {
		if strings.HasPrefix(reply.Error(), refusal) {
			return true
		}
	}
	return false
}

// moved says that a Cluster has its slots elsewhere than the client thinks.
func moved(err error) bool {
	return err != nil && (redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "CLUSTERDOWN") || redis.HasErrorPrefix(err, "READONLY"))
}
