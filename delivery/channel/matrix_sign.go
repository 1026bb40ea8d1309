//go:build goolm

package channel

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"maunium.net/go/mautrix"

	"github.com/afterbeep/afterbeep/delivery"
)

// verifyDevice signs this device with the account's own keys (cross-signing),
// so that clients need not warn of it. An account without such keys gets them,
// once for all machines; what opens them is kept before they are published.
func (m *matrix) verifyDevice(ctx context.Context, c *matrixCrypt) error {
	has, verified, err := c.machine.GetOwnVerificationStatus(ctx)
	if err != nil || verified {
		return err
	}
	recovery := m.o.RecoveryKey
	if recovery == "" {
		if recovery, err = m.env.recall(ctx, "recovery"); err != nil {
			return err
		}
	}
	if has {
		if recovery == "" {
			return errors.New("the account has cross-signing keys: set recovery_key to what opens them")
		}
		return c.machine.VerifyWithRecoveryKey(ctx, recovery)
	}
	first, err := m.env.Memory.Add(ctx, delivery.Entry{Key: "cross-signing", For: time.Minute})
	if err != nil {
		return err
	}
	if !first {
		return m.joinIn(ctx, c)
	}
	return m.crossSign(ctx, c)
}

// joinIn signs the device with the keys that another machine is making.
func (m *matrix) joinIn(ctx context.Context, c *matrixCrypt) error {
	err := errors.New("another machine is setting cross-signing up; at its next start this one joins in")
	for range 10 {
		if rest(ctx, time.Second); ctx.Err() != nil {
			return ctx.Err()
		}
		recovery, readErr := m.env.recall(ctx, "recovery")
		if readErr != nil {
			return readErr
		}
		if recovery == "" {
			continue
		}
		if err = c.machine.VerifyWithRecoveryKey(ctx, recovery); err == nil {
			return nil
		}
	}
	return err
}

// crossSign makes the account's keys.
func (m *matrix) crossSign(ctx context.Context, c *matrixCrypt) error {
	key, err := c.machine.SSSS.GenerateAndUploadKey(ctx, "")
	if err != nil {
		return err
	}
	if err := m.env.Memory.Put(ctx, delivery.Entry{Key: "recovery", Value: []byte(key.RecoveryKey())}); err != nil {
		return err
	}
	if err := writePrivate(filepath.Join(m.env.Folder, "recovery-key"), []byte(key.RecoveryKey()+"\n")); err != nil {
		return err
	}
	keys, err := c.machine.GenerateCrossSigningKeys()
	if err != nil {
		return err
	}
	if err := c.machine.UploadCrossSigningKeysToSSSS(ctx, key, keys); err != nil {
		return err
	}
	err = c.machine.PublishCrossSigningKeys(ctx, keys, func(ui *mautrix.RespUserInteractive) any {
		return &mautrix.ReqUIAuthLogin{
			BaseAuthData: mautrix.BaseAuthData{Type: mautrix.AuthTypePassword, Session: ui.Session},
			User:         m.user.String(), Password: m.o.Password,
		}
	})
	if err != nil {
		return err
	}
	if err := c.machine.SSSS.SetDefaultKeyID(ctx, key.ID); err != nil {
		return err
	}
	if err := c.machine.SignOwnDevice(ctx, c.machine.OwnIdentity()); err != nil {
		return err
	}
	return c.machine.SignOwnMasterKey(ctx)
}
