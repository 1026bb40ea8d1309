package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery/store"
	"github.com/afterbeep/afterbeep/gateway/control"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make and turn the keys that seal the store"}
	cmd.AddCommand(keysNewCommand(), keysRotateCommand())
	return cmd
}

func keysNewCommand() *cobra.Command {
	return &cobra.Command{
		Use: "new FILE", Short: "Write a file with new keys", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if err := store.NewKeyFile(file); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `%s is written. Give it to the gateway's user, and put into the configuration:

store:
  key_file: %s

The next start seals what the store holds. Keep a copy of the file elsewhere,
and not beside the store's backup: without it the store cannot be read.
`, file, file)
			return err
		},
	}
}

func keysRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate", Short: "Put a new key into the key file and take the old ones out", Args: cobra.NoArgs,
		Long: "Put a new first key into store.key_file, wrap every note's key with it, and take\n" +
			"the old keys out of the file once nothing needs them. Interrupted, it is run again.\n\n" +
			"Where the file cannot be replaced, as a container's secret: put a new first key line\n" +
			"into it by hand, start the gateway anew, run this with --keep-old --no-new, and take\n" +
			"the old key lines out.\n\n" +
			"Where several machines share one key file: run it with --keep-old on one, copy\n" +
			"the file to the others, run it with --keep-old --no-new there, and at last with\n" +
			"--no-new, before the file is copied for the last time.",
	}
	path := configFlag(cmd.Flags())
	keepOld := cmd.Flags().Bool("keep-old", false, "leave the old keys in the file")
	noNew := cmd.Flags().Bool("no-new", false, "wrap with the file's first key as it is")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.LoadWithoutSecrets(*path)
		if err != nil {
			return err
		}
		file := cfg.Store.KeyFile
		if file == "" {
			return fmt.Errorf("store.key_file is not set in %s: the store is in clear", *path)
		}
		locked, err := store.LockKeys(file)
		if err != nil {
			return err
		}
		defer func() { _ = locked.Close() }() // a folder that nothing was written to
		if err := rotate(cmd, cfg.Store, *noNew); err != nil {
			return errors.Join(err, errors.New("the key file opens what it did before; run the command again when that is mended"))
		}
		if *keepOld {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "nothing on this machine needs the old keys in %s\n", file)
			return err
		}
		if err := store.DropKeys(file); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the old keys are gone from %s: keep a copy of it elsewhere\n", file)
		return err
	}
	return cmd
}

// rotate puts a new first key into the key file, unless that is to be as it is,
// and wraps every key with the first one.
func rotate(cmd *cobra.Command, o store.Options, noNew bool) error {
	add := store.AddKey
	if noNew {
		add = os.ReadFile
	}
	return operateOn(cmd.Context(), o, func(ctx context.Context, op control.Operator) error {
		if err := store.CheckKeyFile(o.KeyFile); err != nil {
			return err
		}
		text, err := os.ReadFile(o.KeyFile)
		if err == nil {
			_, err = op.RotateKeys(ctx, text, "") // before the file is touched: is it this store's?
		}
		if err == nil {
			text, err = add(o.KeyFile)
		}
		if err != nil {
			return err
		}
		return rewrap(ctx, cmd.OutOrStdout(), op, text)
	})
}

// rewrap wraps every key anew, telling of each turn.
func rewrap(ctx context.Context, out io.Writer, op control.Operator, keys []byte) error {
	for turns, last := 1, ""; ; turns++ {
		var err error
		if last, err = op.RotateKeys(ctx, keys, last); err != nil || last == "" {
			return err
		}
		if _, err := fmt.Fprintf(out, "turn %d: wrapped anew up to note %s\n", turns, last); err != nil {
			return err
		}
	}
}
