package delivery

import (
	"encoding/json"
	"testing"
)

// Notes of earlier versions say nothing of what vouches for their callers'
// numbers, and those of whom nothing is known are kept as they were then.
func TestCallerAsKept(t *testing.T) {
	for text, want := range map[string]Caller{
		`{"Number":"+4930555","Name":"Maria","Private":false}`:                    {Number: "+4930555", Name: "Maria"},
		`{"Number":"+4930555","Name":"Maria","Private":false,"Trust":"verified"}`: {Number: "+4930555", Name: "Maria", Trust: "verified"},
		`{"Number":"","Name":"","Private":true}`:                                  {Private: true},
	} {
		var got Caller
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s is read as %+v, %v", text, got, err)
		}
		if kept, err := json.Marshal(want); err != nil || string(kept) != text {
			t.Errorf("%+v is kept as %s, %v", want, kept, err)
		}
	}
}
