package main

import (
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
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

		"call sip:1@127.0.0.1:1 --reason user-busy": "the reason travels with the number that did not answer",
	} {
		cmd := root()
		cmd.SetArgs(strings.Fields(line))
		cmd.SetOut(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// A terminal is 80 columns wide unless somebody widens it.
func TestHelpFitsATerminal(t *testing.T) {
	t.Parallel()
	var read func(*cobra.Command)
	read = func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Long + "\n" + cmd.UsageString()) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("%s --help: %s", cmd.CommandPath(), line)
			}
		}
		for _, sub := range cmd.Commands() {
			read(sub)
		}
	}
	read(root())
}
