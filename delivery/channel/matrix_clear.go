//go:build !goolm

package channel

import (
	"context"
	"fmt"

	"maunium.net/go/mautrix"
	mevent "maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// matrixCrypt is what this binary has not.
type matrixCrypt struct{}

func (m *matrix) openCrypt(context.Context, *matrixDevice, keptDevice) (*matrixCrypt, error) {
	return nil, fmt.Errorf("%w, and this binary was built without encryption: take a released one, or build it with -tags goolm", errClearOnly)
}

// Remark says what this binary cannot do.
func (m *matrix) Remark() string {
	return "for rooms that are not encrypted alone: this binary was built without -tags goolm"
}

func (*matrixCrypt) encrypt(context.Context, *matrixDevice, id.RoomID, any) (map[string]any, error) {
	return nil, errClearOnly
}

func (*matrixCrypt) decrypt(context.Context, *mevent.Event) (*mevent.Event, error) {
	return nil, errClearOnly
}

func (*matrixCrypt) heard(context.Context, *mautrix.RespSync, string) {}

func (*matrixCrypt) close() {}
