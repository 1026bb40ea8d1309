package channel

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
)

// matrixDevice is the account's login on this machine. A new login is a new
// one.
type matrixDevice struct {
	*mautrix.Client
	crypt     *matrixCrypt // nil when it cannot encrypt
	clearOnly error        // why not
	ends      bool         // with the channel: no folder keeps it
	joined    sync.Map     // the rooms it is known to be in, by id.RoomID
}

// keptDevice is what a machine keeps of its device.
type keptDevice struct {
	User   id.UserID   `json:"user"`
	Device id.DeviceID `json:"device"`
	Token  string      `json:"token"`
	Pickle []byte      `json:"pickle"` // the key of its encryption keys
}

// api is a client for one account. It makes each request once.
func (m *matrix) api(user id.UserID, token string) *mautrix.Client {
	return &mautrix.Client{
		HomeserverURL: m.server, UserID: user, AccessToken: token, UserAgent: m.env.UserAgent,
		Client: &m.client.http, Log: zerolog.Nop(), Store: mautrix.NewMemorySyncStore(), Syncer: mautrix.NewDefaultSyncer(),
		DefaultHTTPRetries: 0, IgnoreRateLimit: true, ResponseSizeLimit: 64 << 20,
	}
}

// open returns the device, and logs in where there is none yet.
func (m *matrix) open(ctx context.Context) (*matrixDevice, error) {
	m.opening.Lock()
	defer m.opening.Unlock()
	if m.device != nil {
		return m.device, nil
	}
	kept := m.kept()
	d, err := m.enter(ctx, kept)
	if m.o.Password != "" && refused(err, mautrix.MUnknownToken) {
		kept.Token = ""
		d, err = m.enter(ctx, kept)
	}
	if err == nil {
		m.device = d
	}
	return d, err
}

// renew logs in again, as the same device, after the server has ended the
// login of old.
func (m *matrix) renew(ctx context.Context, old *matrixDevice) (*matrixDevice, error) {
	m.opening.Lock()
	defer m.opening.Unlock()
	if m.device != old && m.device != nil { // another was quicker
		return m.device, nil
	}
	old.crypt.close()
	m.device = nil
	kept := m.kept()
	kept.Device, kept.Token = old.DeviceID, ""
	d, err := m.enter(ctx, kept)
	if err == nil {
		m.device = d
	}
	return d, err
}

// enter makes a device of what is kept, by a login unless there is a token.
func (m *matrix) enter(ctx context.Context, kept keptDevice) (*matrixDevice, error) {
	if m.o.Token != "" {
		kept.Token = m.o.Token
	} else if kept.Token == "" {
		var err error
		if kept, err = m.login(ctx, kept); err != nil {
			return nil, err
		}
	}
	d := &matrixDevice{Client: m.api(m.user, kept.Token)}
	d.DeviceID = kept.Device
	if m.env.Folder == "" {
		d.ends = m.o.Token == ""
		d.clearOnly = errors.New("the room is encrypted, and the keys for it are with the gateway; try it there")
		return d, nil
	}
	crypt, err := m.openCrypt(ctx, d, kept)
	if errors.Is(err, errStaleDevice) && m.o.Token == "" { // its keys are gone: it goes on as a new device
		_, _ = d.Logout(ctx) // or the old one stays in the account's list
		kept.Device, kept.Token = "", ""
		return m.enter(ctx, kept)
	}
	if err != nil && !errors.Is(err, errClearOnly) {
		return nil, err
	}
	d.crypt, d.clearOnly = crypt, err
	return d, nil
}

var (
	// errClearOnly is that this device cannot write into encrypted rooms.
	errClearOnly = errors.New("the room is encrypted")
	// errStaleDevice is that the keys of the device here and at the server are
	// not the same ones.
	errStaleDevice = errors.New("the device's encryption keys are not those that the homeserver has")
)

// login logs in with the password, as the kept device where there is one.
func (m *matrix) login(ctx context.Context, kept keptDevice) (keptDevice, error) {
	answer, err := m.api("", "").Login(ctx, &mautrix.ReqLogin{
		Type:       mautrix.AuthTypePassword,
		Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: m.user.String()},
		Password:   m.o.Password, DeviceID: kept.Device, InitialDeviceDisplayName: "Afterbeep",
	})
	if err != nil {
		if refused(err, mautrix.MForbidden) {
			return kept, &delivery.SendError{Outcome: delivery.Retry, Credentials: true, Status: 403, Err: errors.New("the homeserver refuses the login; see user and password")}
		}
		return kept, err
	}
	kept.User, kept.Device, kept.Token = m.user, answer.DeviceID, answer.AccessToken
	if len(kept.Pickle) == 0 {
		kept.Pickle = make([]byte, 32)
		_, _ = rand.Read(kept.Pickle) // never fails (crypto/rand)
	}
	return kept, m.keep(kept)
}

func (m *matrix) deviceFile() string { return filepath.Join(m.env.Folder, "device.json") }

// kept is the device of the machine; an empty one for none.
func (m *matrix) kept() keptDevice {
	var kept keptDevice
	if m.env.Folder == "" {
		return kept
	}
	text, err := os.ReadFile(m.deviceFile())
	if err != nil || json.Unmarshal(text, &kept) != nil || kept.User != m.user {
		return keptDevice{}
	}
	return kept
}

// keep writes the device down, for its owner alone.
func (m *matrix) keep(kept keptDevice) error {
	if m.env.Folder == "" {
		return nil
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("the device cannot be kept: %w", err)
	}
	if err := writePrivate(m.deviceFile(), text); err != nil {
		return fmt.Errorf("the device cannot be kept: %w", err)
	}
	return nil
}

// writePrivate puts a file in place whole.
func writePrivate(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// close ends what is open of the device.
func (d *matrixDevice) close(log *slog.Logger) {
	d.crypt.close()
	if !d.ends {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := d.Logout(ctx); err != nil {
		log.Warn("matrix: the login for this trial could not be ended")
	}
}
