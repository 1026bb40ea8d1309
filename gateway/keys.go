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
		Use: "new FILE", Short: "Write a file with new keys", Args: arguments,
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

// inFleet is the order in which machines that share their work turn a key.
const inFleet = "Where several machines share the work (store.redis), all with one key file,\n" +
	"and with their gateways running:\n" +
	"  1. `keys rotate --only-add` on one, and copy the file to every other machine;\n" +
	"  2. `keys rotate --no-new --keep-old` on every machine: each wraps its own\n" +
	"     notes anew, and what Redis has of them;\n" +
	"  3. `keys rotate --no-new` on every machine, which takes the old keys out.\n" +
	"Each step is done on every machine before the next begins."

// turning is how a key is to be turned.
type turning struct{ onlyAdd, keepOld, noNew bool }

func keysRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate", Short: "Put a new key into the key file and take the old ones out", Args: arguments,
		Long: "Put a new first key into store.key_file, wrap every note's key with it, and\n" +
			"take the old keys out of the file once nothing needs them. Interrupted, it is\n" +
			"run again.\n\n" +
			"Where the file cannot be replaced, as a container's secret: put a new first\n" +
			"key line into it by hand, start the gateway anew, run this with --keep-old\n" +
			"--no-new, and take the old key lines out.\n\n" + inFleet,
	}
	path := configFlag(cmd.Flags())
	var how turning
	cmd.Flags().BoolVar(&how.onlyAdd, "only-add", false, "put a new first key into the file, and wrap nothing yet")
	cmd.Flags().BoolVar(&how.keepOld, "keep-old", false, "leave the old keys in the file")
	cmd.Flags().BoolVar(&how.noNew, "no-new", false, "wrap with the file's first key as it is")
	cmd.MarkFlagsMutuallyExclusive("only-add", "no-new")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.LoadWithoutSecrets(*path)
		if err != nil {
			return err
		}
		file := cfg.Store.KeyFile
		switch {
		case file == "":
			return fmt.Errorf("store.key_file is not set in %s: the store is in clear", *path)
		case cfg.Store.Fleet && !how.onlyAdd && !how.noNew:
			return fmt.Errorf("other machines need to open what this one would wrap anew. %s", inFleet)
		}
		locked, err := store.LockKeys(file)
		if err != nil {
			return err
		}
		defer func() { _ = locked.Close() }() // a folder that nothing was written to
		return turn(cmd, cfg.Store, how)
	}
	return cmd
}

// turn turns the key of a store, and says how the file stands then.
func turn(cmd *cobra.Command, o store.Options, how turning) error {
	out, file := cmd.OutOrStdout(), o.KeyFile
	if how.onlyAdd {
		if _, err := store.AddKey(file); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "a new key is in %s, and seals nothing yet: copy the file to every other machine, then run `keys rotate --no-new --keep-old` on each\n", file)
		return err
	}
	if err := rotate(cmd, o, how.noNew); err != nil {
		return errors.Join(err, errors.New("the key file opens what it did before; run the command again when that is mended"))
	}
	if how.keepOld {
		next := ""
		if o.Fleet {
			next = "; when every other machine says so too, run `keys rotate --no-new` on each"
		}
		_, err := fmt.Fprintf(out, "nothing on this machine needs the old keys in %s%s\n", file, next)
		return err
	}
	if err := store.DropKeys(file); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "the old keys are gone from %s: keep a copy of it elsewhere\n", file)
	return err
}

// rotate puts a new first key into the key file, unless that is to be as it is,
// and wraps every key with the first one.
func rotate(cmd *cobra.Command, o store.Options, noNew bool) error {
	add := store.AddKey
	if noNew {
		add = os.ReadFile
	}
	return operateOn(cmd.Context(), o, func(ctx context.Context, op control.Operator) error {
		if _, running := op.(*control.Client); o.Fleet && !running {
			return errors.New("start the gateway first: it alone wraps anew what Redis has of its notes")
		}
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
