package web

import (
	"maps"
	"regexp"
	"slices"
	"testing"
)

var (
	wordsLanguage = regexp.MustCompile(`(?ms)^  ([a-z]{2}): \{\n(.*?)^  \},$`)
	wordsEntry    = regexp.MustCompile(`(?m)^    ([a-z_]+): "(.+)",$`)
	wordsGap      = regexp.MustCompile(`\{\d\}`)
)

// Every language of the page says everything, and leaves the same gaps.
func TestWords(t *testing.T) {
	source, err := files.ReadFile("page/words.js")
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]map[string]string{}
	for _, l := range wordsLanguage.FindAllStringSubmatch(string(source), -1) {
		table[l[1]] = map[string]string{}
		for _, e := range wordsEntry.FindAllStringSubmatch(l[2], -1) {
			table[l[1]][e[1]] = e[2]
		}
	}
	for _, language := range []string{"en", "de", "es", "fr", "pt"} {
		if len(table[language]) == 0 {
			t.Errorf("no %s", language)
		}
	}
	for language, words := range table {
		if got, want := slices.Sorted(maps.Keys(words)), slices.Sorted(maps.Keys(table["en"])); !slices.Equal(got, want) {
			t.Errorf("%s has %q, English %q", language, got, want)
		}
		for key, said := range words {
			if got, want := wordsGap.FindAllString(said, -1), wordsGap.FindAllString(table["en"][key], -1); !slices.Equal(got, want) {
				t.Errorf("%s %s: gaps %q, English has %q", language, key, got, want)
			}
		}
	}
}
