package config

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var fenced = regexp.MustCompile("(?ms)^ *```(yaml|xml)\n(.*?)^ *```")

// What a PBX recipe has the reader paste is right: each afterbeep.yaml serves as
// it stands, and XML is well-formed.
func TestRecipes(t *testing.T) {
	recipes, err := filepath.Glob("../deploy/pbx/*.md")
	if err != nil || len(recipes) == 0 {
		t.Fatalf("no recipes: %v", err)
	}
	for _, path := range recipes {
		name := filepath.Base(path)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files := 0
		for _, block := range fenced.FindAllSubmatch(text, -1) {
			switch string(block[1]) {
			case "xml":
				if err := wellFormed(block[2]); err != nil {
					t.Errorf("%s: %v\n%s", name, err, block[2])
				}
			case "yaml":
				files++
				if bytes.Contains(block[2], []byte("accounts:")) && !bytes.Contains(Example(), []byte("accounts:")) {
					continue // of a version that registers as an extension
				}
				if _, err := Parse(name, block[2], nil); err != nil {
					t.Errorf("%v", err)
				}
			}
		}
		if files == 0 && name != "README.md" {
			t.Errorf("%s names no afterbeep.yaml", name)
		}
	}
}

func wellFormed(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
