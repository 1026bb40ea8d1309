package config

import (
	"fmt"
	"testing"
)

// Numbers without a mailbox displace none that has one.
func TestAnswersHaveTheirRoom(t *testing.T) {
	var as answers
	there := question{user: "7"}
	as.put(there, answer{mailbox: &Mailbox{}})
	for i := range maxNone + 100 {
		as.put(question{user: fmt.Sprint("none", i)}, answer{})
	}
	if _, ok := as.get(there); !ok || len(as.none) != maxNone {
		t.Errorf("%d are known to be none, and who is there: %v", len(as.none), ok)
	}
	as.put(there, answer{})
	if len(as.there) != 0 || len(as.none) != maxNone {
		t.Errorf("%d are there, %d are none", len(as.there), len(as.none))
	}
}
