package sip

import "runtime"

// Limits bound the calls of all trunks together, or those of one. What is 0
// bounds nothing. A trunk without Callees in the file has that of all trunks.
type Limits struct {
	Calls   int `yaml:"calls" example:"1000" help:"calls in progress; one more is refused with 503 and Retry-After"`
	Rate    int `yaml:"rate" example:"200" help:"new calls a second, which may come all at once; one more is refused with 503 and Retry-After"`
	Callees int `yaml:"callees" example:"500" help:"different numbers that one address may call, or subscribe to, in an hour; one more is refused like an unknown number, so that nobody finds out which there are; a trunk has that of all trunks unless it has its own, where 0 is no limit"`
}

// What one processor is trusted with unless the file says otherwise: less than
// it was measured to bear, so that a burst harms no call in progress.
const (
	callsPerProcessor = 500
	ratePerProcessor  = 100
)

// DefaultLimits are those of this machine.
func DefaultLimits() Limits {
	n := runtime.GOMAXPROCS(0)
	return Limits{Calls: n * callsPerProcessor, Rate: n * ratePerProcessor}
}

// validate adds what is wrong with the limits below key.
func (l Limits) validate(key string, wrong *mistakes) {
	for _, limit := range []struct {
		name  string
		value int
	}{{"calls", l.Calls}, {"rate", l.Rate}, {"callees", l.Callees}} {
		if limit.value < 0 {
			wrong.add(key+limit.name, "expected a number of 1 or more, or 0 for no limit, not %d", limit.value)
		}
	}
}
