package store

import "time"

// Options is the `store` part of the configuration file.
type Options struct {
	Path string `yaml:"path" help:"folder of the database, the tapes and the notes; created when missing"`

	// Operator are the events that the operator is told of: delivery.EventDead
	// and so on.
	Operator []string `yaml:"-"`

	KeyFile string `yaml:"key_file" path:"true" help:"seals what lies on disk; make one with 'afterbeep keys new FILE' and keep a copy elsewhere; empty keeps it in clear"`
	Redis   string `yaml:"redis" secret:"true" help:"where many machines share the work, like redis://10.0.0.5:6379/0, redis+sentinel://10.0.0.5,10.0.0.6/mymaster?replicas=1 or redis+cluster://10.0.0.5,10.0.0.6; empty for one machine"`

	// Fleet says that Redis is set, also where the secret itself was not read.
	Fleet bool `yaml:"-"`

	// Changed is told of each mailbox in which this machine has changed what waits
	// there: a note came, was read or played, or went. It must not block. nil for
	// nobody.
	Changed func(mailbox string) `yaml:"-"`

	// AsIs leaves a store in clear as it is for this time: an operator's command
	// does not seal in passing what the gateway has not yet.
	AsIs bool `yaml:"-"`
	// Wall is the machine's clock; nil for time.Now.
	Wall func() time.Time `yaml:"-"`

	// Wait is how long Open waits for another process to leave the store.
	Wait time.Duration `yaml:"-"`
}

// DefaultOptions keeps the store beside the configuration file.
func DefaultOptions() Options { return Options{Path: "./data"} }

const (
	// spaceFloor is what Begin leaves free: room for the database to grow and
	// for the notes of the calls that are being recorded.
	spaceFloor = 64 << 20

	// flushEvery is how old a record of a tape can get before it is on disk.
	flushEvery = time.Second

	// maxBatch is how many operations one commit carries.
	maxBatch = 64

	// maxSyncs is how many files are synced at once: enough for the file system
	// to take them together, few enough to spare threads when 1,000 calls end.
	maxSyncs = 64

	// busyTimeout is how long a connection waits for another.
	busyTimeout = 5 * time.Second

	// maxReaders is how many connections read beside the writer.
	maxReaders = 4
)
