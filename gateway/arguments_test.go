package main

import (
	"io"
	"strings"
	"testing"
)

func TestArguments(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"note show":            "the ID is missing: give `afterbeep note show ID`",
		"note erase":           "the MAILBOX is missing: give `afterbeep note erase MAILBOX`",
		"link":                 "the MAILBOX is missing: give `afterbeep link MAILBOX`",
		"keys new":             "the FILE is missing: give `afterbeep keys new FILE`",
		"call":                 "the SIP-URI is missing: give `afterbeep call SIP-URI`",
		"note redrive one two": "\"two\" is too much: give `afterbeep note redrive [ID]`",
		"version now":          "\"now\" is too much: give `afterbeep version`",
		"note redrive":         "say which notes",
	} {
		cmd := root()
		cmd.SetArgs(strings.Fields(line))
		cmd.SetOut(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}
