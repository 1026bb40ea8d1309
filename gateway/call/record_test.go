package call

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestRecordsNameNobodyUnlessAsked(t *testing.T) {
	for _, plain := range []bool{false, true} {
		var out bytes.Buffer
		rs := NewRecords(&out, []byte("key"), plain)
		for range 2 {
			if err := rs.write(record{Mailbox: "+4930123456", Caller: "+491705550101", Digits: "1234"}); err != nil {
				t.Fatal(err)
			}
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || lines[0] != lines[1] {
			t.Fatalf("the same call gives %q", lines)
		}
		var r record
		if err := json.Unmarshal([]byte(lines[0]), &r); err != nil {
			t.Fatal(err)
		}
		if named := r.Mailbox == "+4930123456" && r.Caller == "+491705550101" && r.Digits == "1234"; named != plain {
			t.Errorf("plain %v gives %s", plain, lines[0])
		}
		if !plain && (len(r.Mailbox) != 16 || r.Mailbox == r.Caller || r.Digits != "") {
			t.Errorf("hashed: %s", lines[0])
		}
	}
}

func TestNoRecordsWithoutAFile(t *testing.T) {
	var none *Records
	if err := none.write(record{}); err != nil {
		t.Fatal(err)
	}
}
