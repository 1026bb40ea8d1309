package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// arguments is the Args of every command: what its usage line names must be
// there, but for what stands in brackets, and nothing else.
func arguments(cmd *cobra.Command, args []string) error {
	wanted := strings.Fields(cmd.Use)[1:]
	if len(args) > len(wanted) {
		return fmt.Errorf("%q is too much: give `%s`", args[len(wanted)], usage(cmd, wanted))
	}
	for _, name := range wanted[len(args):] {
		if !strings.HasPrefix(name, "[") {
			return fmt.Errorf("the %s is missing: give `%s`", name, usage(cmd, wanted))
		}
	}
	return nil
}

// usage is a command with its arguments, and without its flags.
func usage(cmd *cobra.Command, wanted []string) string {
	return strings.Join(append([]string{cmd.CommandPath()}, wanted...), " ")
}
