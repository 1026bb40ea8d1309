package store

import (
	"context"

	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// Standing is how a machine stands with the others.
type Standing struct {
	Up          bool // Redis can be used
	Gate        bool // Redis gives jobs out: it has been told what it may have forgotten
	Machines    int  // that share the work, this one included
	Unpublished int  // jobs that Redis is still to be told of
}

const countUntold = "SELECT count(*) FROM job INDEXED BY job_untold WHERE shared = 1 AND state IN ('queued', 'sending')"

// Standing says how this machine stands with the others.
func (f *Fleet) Standing(ctx context.Context) (s Standing, err error) {
	s.Up, s.Gate, s.Machines = f.shared.Up(), f.shared.Ready(), max(1, int(f.peers.Load()))
	err = f.readers.QueryRowContext(ctx, countUntold).Scan(&s.Unpublished)
	return s, err
}

// settingError is a mistake in one setting of the store.
type settingError struct{ key, expected string }

// Error names the setting.
func (e *settingError) Error() string { return e.key + ": " + e.expected }

// Setting is the key, and what was expected there.
func (e *settingError) Setting() (key, expected string) { return e.key, e.expected }

// Validate returns what is wrong with the settings, or nil.
func (o *Options) Validate() error {
	if o.Redis == "" {
		return nil
	}
	if _, err := shared.ParseURL(o.Redis); err != nil {
		return &settingError{"redis", err.Error()}
	}
	return nil
}

// InspectRedis looks at the Redis of the settings, changes nothing there, and
// returns what is to be mended. Its error says why it cannot be used at all.
func InspectRedis(ctx context.Context, o Options) (mend []string, err error) {
	mend, err = shared.Inspect(ctx, o.Redis)
	if o.KeyFile == "" {
		mend = append(mend, "notes lie there in clear: set store.key_file, the same on every machine")
	}
	return mend, err
}
