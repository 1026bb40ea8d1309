package store

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

func TestFleetLinks(t *testing.T) {
	t.Parallel()
	onDuos(t, func(t *testing.T, p duo) {
		a, b := p.a, p.b
		token, err := a.LinkFor(t.Context(), "101")
		check(t, err)
		if again, err := b.LinkFor(t.Context(), "101"); err != nil || again != token {
			t.Errorf("b has another link: %v", err)
		}
		other, err := b.LinkFor(t.Context(), "102")
		check(t, err)
		for token, want := range map[string]string{token: "101", other: "102"} {
			for _, m := range []*machine{a, b} {
				if owner, err := m.LinkOwner(t.Context(), token); err != nil || owner != want {
					t.Errorf("the owner is %q, %v, want %s", owner, err, want)
				}
			}
		}
		_, err = a.LinkOwner(t.Context(), "nobody's")
		expect(t, err, delivery.ErrNotFound)
		keyA, err := a.SigningKey(t.Context())
		check(t, err)
		if keyB, err := b.SigningKey(t.Context()); err != nil || !bytes.Equal(keyA, keyB) || len(keyA) != signingKeyBytes {
			t.Errorf("the signing keys differ: %v", err)
		}

		// Redis forgets: the machines tell it again.
		p.setup.Flush()
		eventually(t, "the links are there again", func() bool {
			owner, err := a.LinkOwner(t.Context(), other)
			return err == nil && owner == "102"
		})

		// Two links that were made apart both lead to the mailbox.
		p.setup.Servers[0].Kill()
		eventually(t, "both notice", func() bool { return !a.shared.Up() && !b.shared.Up() })
		apartA, err := a.LinkFor(t.Context(), "103")
		check(t, err)
		apartB, err := b.LinkFor(t.Context(), "103")
		check(t, err)
		if kept, err := b.LinkFor(t.Context(), "101"); err != nil || kept != token {
			t.Errorf("without Redis b has another link: %v", err)
		}
		p.setup.Servers[0].Start()
		eventually(t, "both links lead there", func() bool {
			one, errA := b.LinkOwner(t.Context(), apartA)
			two, errB := a.LinkOwner(t.Context(), apartB)
			return errA == nil && errB == nil && one == "103" && two == "103"
		})
	})
}

// A link that is erased while another machine looks at it, by its token or by
// its mailbox, does not stand again there.
func TestFleetLinkErasedMeanwhile(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := pair(t, setup, 0)
	for mailbox, look := range map[string]func(mailbox, token string) (string, error){
		"101": func(_, token string) (string, error) { return b.LinkOwner(t.Context(), token) },
		"102": func(mailbox, _ string) (string, error) { return b.LinkFor(t.Context(), mailbox) },
	} {
		token, err := a.LinkFor(t.Context(), mailbox)
		check(t, err)
		looked := make(chan error, 1)
		b.erasing.Lock() // as while it applies the erasure
		go func() {
			_, err := look(mailbox, token)
			looked <- err
		}()
		time.Sleep(100 * time.Millisecond)
		check(t, a.dropLinks(t.Context(), mailbox))
		b.erasing.Unlock()
		if err := <-looked; err != nil && !errors.Is(err, delivery.ErrNotFound) {
			t.Error(err)
		}
		if owner, err := b.Store.LinkOwner(t.Context(), token); !errors.Is(err, delivery.ErrNotFound) {
			t.Errorf("the erased link of %s leads to %q, %v", mailbox, owner, err)
		}
	}
}
