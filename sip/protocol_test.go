package sip

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// protocolRow is one row of PROTOCOL.md.
type protocolRow struct {
	rfc    string // "" in the table of what no RFC asks for
	files  []string
	proofs []string // FOLDER.Test
}

// TestProtocolTable holds PROTOCOL.md true.
func TestProtocolTable(t *testing.T) {
	tests, inTable := testsOf(t), map[string]bool{}
	for _, row := range protocolRows(t) {
		inTable[row.rfc] = true
		for _, file := range row.files {
			text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(file)))
			switch {
			case err != nil:
				t.Errorf("RFC %s: %v", row.rfc, err)
			case row.rfc != "" && !strings.Contains(string(text), row.rfc):
				t.Errorf("RFC %s: %s does not name it", row.rfc, file)
			}
		}
		for _, proof := range row.proofs {
			if !tests[proof] {
				t.Errorf("RFC %s: there is no test %s", row.rfc, proof)
			}
		}
		if len(row.files) == 0 || len(row.proofs) == 0 {
			t.Errorf("RFC %s: a row says neither where nor how it is proven: %+v", row.rfc, row)
		}
	}
	sources, _ := filepath.Glob("*.go")
	named := regexp.MustCompile(`RFC (\d{4})`)
	for _, file := range sources {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, rfc := range named.FindAllStringSubmatch(string(text), -1) {
			if !strings.HasSuffix(file, "_test.go") && !inTable[rfc[1]] {
				t.Errorf("%s names RFC %s, of which PROTOCOL.md has no row", file, rfc[1])
			}
		}
	}
}

// TestEveryScenarioRuns: no file of sipp's lies unused in testdata.
func TestEveryScenarioRuns(t *testing.T) {
	text, err := os.ReadFile("sipp_peer_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join("testdata", "sipp", "*.xml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".xml")
		if !strings.Contains(string(text), `"`+name+`"`) {
			t.Errorf("no test runs %s", file)
		}
	}
}

// protocolRows reads both tables.
func protocolRows(t *testing.T) (rows []protocolRow) {
	t.Helper()
	text, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		last := len(cells) - 1
		if last < 2 || strings.HasPrefix(cells[0], "---") || cells[last] == "proof" {
			continue
		}
		row := protocolRow{files: strings.Split(cells[last-1], ", "), proofs: strings.Split(cells[last], ", ")}
		if last == 4 {
			row.rfc = cells[0]
		}
		rows = append(rows, row)
	}
	if len(rows) < 40 {
		t.Fatalf("%d rows were read", len(rows))
	}
	return rows
}

// testsOf finds every test of the module.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		folder, _ := filepath.Abs(filepath.Dir(path))
		for _, name := range declared.FindAllStringSubmatch(string(text), -1) {
			tests[filepath.Base(folder)+"."+name[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
