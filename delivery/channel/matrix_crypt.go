//go:build goolm

package channel

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"go.mau.fi/util/dbutil"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	mevent "maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
	"maunium.net/go/mautrix/sqlstatestore"
	_ "modernc.org/sqlite" // the driver of the key database

	"github.com/afterbeep/afterbeep/delivery"
)

// matrixCrypt is the end-to-end encryption of this machine's device. Its keys
// are in a database in the channel's folder. A nil one does nothing.
type matrixCrypt struct {
	machine *crypto.OlmMachine
	state   *sqlstatestore.SQLStateStore
	db      *dbutil.Database
	sharing sync.Mutex // one message at a time: a room's key is shared once
}

// openCrypt opens the device's keys, makes them where it has none, and signs
// the device. What it refuses for good is an errClearOnly.
func (m *matrix) openCrypt(ctx context.Context, d *matrixDevice, kept keptDevice) (*matrixCrypt, error) {
	kept, err := m.identify(ctx, d, kept)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(m.env.Folder, "keys-"+url.PathEscape(string(d.DeviceID))+".db")
	_, statErr := os.Stat(path)
	onServer, err := d.QueryKeys(ctx, &mautrix.ReqQueryKeys{DeviceKeys: mautrix.DeviceKeysRequest{d.UserID: {d.DeviceID}}})
	if err != nil {
		return nil, err
	}
	_, published := onServer.DeviceKeys[d.UserID][d.DeviceID]
	if published != (statErr == nil) {
		if m.o.Password != "" {
			for _, part := range []string{"", "-wal", "-shm"} {
				_ = os.Remove(path + part) // keys that nobody knows are good for nothing
			}
			return nil, errStaleDevice
		}
		return nil, fmt.Errorf("%w, and the token's device has other keys than this machine: set a token that nothing else has used, or a password: %w", errClearOnly, errStaleDevice)
	}
	c, err := startCrypt(ctx, d, path, kept.Pickle)
	if err != nil {
		return nil, err
	}
	if err := m.verifyDevice(ctx, c); err != nil {
		m.env.Log.Warn("matrix: the device is not cross-signed, clients will warn of it", "channel", m.env.Name, "error", m.failure(err))
	}
	return c, nil
}

// identify completes what is kept of a device: a token's does not come with a
// login.
func (m *matrix) identify(ctx context.Context, d *matrixDevice, kept keptDevice) (keptDevice, error) {
	if m.o.Token == "" {
		return kept, nil
	}
	who, err := d.Whoami(ctx)
	if err != nil {
		return kept, err
	}
	if who.DeviceID == "" {
		return kept, fmt.Errorf("%w, and the token belongs to no device: take one that a login gave, or set a password", errClearOnly)
	}
	d.DeviceID = who.DeviceID
	if kept.Device == who.DeviceID && len(kept.Pickle) > 0 {
		return kept, nil
	}
	kept = keptDevice{User: m.user, Device: who.DeviceID, Pickle: make([]byte, 32)}
	_, _ = rand.Read(kept.Pickle) // never fails (crypto/rand)
	return kept, m.keep(kept)
}

// startCrypt opens the database and brings the device's keys to the server.
func startCrypt(ctx context.Context, d *matrixDevice, path string, pickle []byte) (*matrixCrypt, error) {
	pragmas := "?_txlock=immediate&_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // for its owner alone, as sqlite would not make it
	if err != nil {
		return nil, fmt.Errorf("the key database cannot be made: %w", err)
	}
	_ = file.Close() // nothing was written
	raw, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+pragmas)
	if err != nil {
		return nil, fmt.Errorf("the key database %s cannot be opened: %w", path, err)
	}
	db, err := dbutil.NewWithDB(raw, "sqlite3")
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("the key database %s cannot be opened: %w", path, err)
	}
	c := &matrixCrypt{db: db, state: sqlstatestore.NewSQLStateStore(db, dbutil.NoopLogger, false)}
	keys := crypto.NewSQLCryptoStore(db, dbutil.NoopLogger, "", d.DeviceID, pickle)
	log := zerolog.Nop()
	d.StateStore = c.state
	c.machine = crypto.NewOlmMachine(d.Client, &log, keys, c.state)
	err = errors.Join(c.state.Upgrade(ctx), keys.DB.Upgrade(ctx))
	if err == nil {
		err = c.machine.Load(ctx)
	}
	if err == nil && !c.machine.GetAccount().Shared {
		err = c.machine.ShareKeys(ctx, -1)
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("encryption cannot be started: %w", err)
	}
	return c, nil
}

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
		if recovery, err = m.recall(ctx, "recovery"); err != nil {
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
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		recovery, readErr := m.recall(ctx, "recovery")
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

// encrypt seals the content of a message for all who are in a room or invited.
func (c *matrixCrypt) encrypt(ctx context.Context, d *matrixDevice, room id.RoomID, content any) (map[string]any, error) {
	c.sharing.Lock()
	defer c.sharing.Unlock()
	// Asked each time: a key must not go to one who has left, and sync may lag.
	before, err := c.state.GetRoomJoinedOrInvitedMembers(ctx, room)
	if err != nil {
		return nil, fmt.Errorf("the room's members cannot be read: %w", err)
	}
	if _, err := d.Members(ctx, room); err != nil {
		return nil, err
	}
	users, err := c.state.GetRoomJoinedOrInvitedMembers(ctx, room)
	if err != nil {
		return nil, fmt.Errorf("the room's members cannot be read: %w", err)
	}
	if !sameUsers(before, users) {
		if err := c.machine.CryptoStore.RemoveOutboundGroupSession(ctx, room); err != nil {
			return nil, fmt.Errorf("the room's old key cannot be put away: %w", err)
		}
	}
	sealed, err := c.machine.EncryptMegolmEvent(ctx, room, mevent.EventMessage, content)
	if errors.Is(err, crypto.ErrSessionExpired) || errors.Is(err, crypto.ErrNoGroupSession) || errors.Is(err, crypto.ErrSessionNotShared) {
		if err = c.machine.ShareGroupSession(ctx, room, users); err != nil {
			return nil, err
		}
		sealed, err = c.machine.EncryptMegolmEvent(ctx, room, mevent.EventMessage, content)
	}
	if err != nil {
		return nil, fmt.Errorf("the message cannot be encrypted: %w", err)
	}
	text, err := json.Marshal(sealed)
	if err != nil {
		return nil, fmt.Errorf("the message cannot be encrypted: %w", err)
	}
	var fields map[string]any
	return fields, json.Unmarshal(text, &fields)
}

// sameUsers says that two lists have the same users, in whatever order.
func sameUsers(a, b []id.UserID) bool {
	members := make(map[id.UserID]bool, len(a))
	for _, user := range a {
		members[user] = true
	}
	for _, user := range b {
		if !members[user] {
			return false
		}
	}
	return len(a) == len(b)
}

// decrypt opens an event; errLocked when its key has not come yet.
func (c *matrixCrypt) decrypt(ctx context.Context, e *mevent.Event) (*mevent.Event, error) {
	if c == nil {
		return nil, errClearOnly
	}
	opened, err := c.machine.DecryptMegolmEvent(ctx, e)
	if errors.Is(err, crypto.ErrNoSessionFound) {
		return nil, errLocked
	}
	return opened, err
}

// heard takes from an answer to sync what encryption lives by: keys, devices
// and who is in the rooms.
func (c *matrixCrypt) heard(ctx context.Context, answer *mautrix.RespSync, since string) {
	if c == nil {
		return
	}
	c.machine.ProcessSyncResponse(ctx, answer, since)
	for room, joined := range answer.Rooms.Join {
		for _, events := range [][]*mevent.Event{joined.State.Events, joined.Timeline.Events} {
			for _, e := range events {
				if e.StateKey == nil || !readable(e, room, mevent.StateEventType) {
					continue
				}
				mautrix.UpdateStateStore(ctx, c.state, e)
				if e.Type == mevent.StateMember {
					c.machine.HandleMemberEvent(ctx, e)
				}
			}
		}
	}
}

// close closes the key database.
func (c *matrixCrypt) close() {
	if c == nil {
		return
	}
	c.machine.Destroy()
	_ = c.db.Close() // each change was committed
}
