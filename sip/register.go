package sip

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// registerTries is how many requests one registrar has to say yes or no.
const registerTries = 8

// RegisterError is why a registrar did not take an account. Its text says what
// to mend, and names neither user nor password.
type RegisterError struct {
	Registrar string // host and port
	Code      int    // of its response; 0 when that says nothing, or none came
	Reason    string // of the response; "" where that may name somebody
	Err       error  // what is wrong, when Code does not say it
}

// wrongPassword is what a second challenge means.
const wrongPassword = "the password is wrong: check password, and login where the PBX has an authentication id beside the extension"

// registerFaults are what a registrar's refusal means, and what helps.
var registerFaults = map[int]string{
	401: wrongPassword,
	403: "the PBX forbids it: check user, password and login, and whether the extension may register from this machine",
	404: "the PBX knows no such extension: check user, and domain where it differs from the registrar",
	405: "this is no registrar: check the address and the port",
	407: wrongPassword,
	501: "this is no registrar: check the address and the port",
	503: "the PBX is busy or starting; it is asked again",
}

// Error says who refused, why, and what helps.
func (e *RegisterError) Error() string {
	switch fault, known := registerFaults[e.Code]; {
	case e.Code == 0:
		return fmt.Sprintf("%s: %v", e.Registrar, e.Err)
	case known:
		return fmt.Sprintf("%s: %s (%v)", e.Registrar, fault, &StatusError{e.Code, e.Reason})
	default:
		return fmt.Sprintf("%s: the PBX refused: %v", e.Registrar, &StatusError{e.Code, e.Reason})
	}
}

// Unwrap returns what is wrong.
func (e *RegisterError) Unwrap() error { return e.Err }

// refusal says whether only a person can mend it.
func (e *RegisterError) refusal() bool {
	switch e.Code {
	case 401, 403, 404, 407:
		return true
	}
	return false
}

// Why a registrar could not be asked, or not be understood.
var (
	errSilent   = errors.New("no answer: is the PBX up, is the port right, and does a firewall let SIP pass?")
	errEndless  = errors.New("the PBX asks again and again: it accepts no nonce of its own, or never the same address")
	errPassword = errors.New("the PBX asks for a password: set password, or password_file")
	errFacing   = errors.New("no UDP address of sip.listen reaches it: add udp://0.0.0.0:5060, or the address of this machine on the PBX's network")
)

// unreachable is what a network's error says, without the addresses.
func unreachable(err error) error {
	if foreign := (*tls.CertificateVerificationError)(nil); errors.As(err, &foreign) {
		return fmt.Errorf("%w: write the registrar as its certificate names it, and set ca where this machine does not know who signed it", err)
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return fmt.Errorf("cannot be reached: %w", op.Err)
	}
	return fmt.Errorf("cannot be reached: %w", err)
}

// wish is what a REGISTER asks for.
type wish struct {
	query   bool          // whether the login is right, and no more: a REGISTER without Contact changes nothing (RFC 3261 section 10.2.3)
	expires time.Duration // 0 ends a registration
}

// register asks one registrar; before is where the account was registered, nil
// for nowhere. The error is a *RegisterError.
func (r *registration) register(ctx context.Context, t target, w wish, before *binding) (*binding, error) {
	a := &attempt{
		registration: r, target: t, wish: w,
		credentials: credentials{user: cmp.Or(r.account.Login, r.account.User), password: r.account.Password},
	}
	err := a.face(before)
	for range registerTries {
		if err != nil {
			break
		}
		var again bool
		if again, err = a.ask(ctx); err == nil && !again {
			return &binding{target: t, contact: a.contact, sight: a.sight, granted: a.wish.expires}, nil
		}
	}
	if refused := (*RegisterError)(nil); errors.As(err, &refused) {
		return nil, refused
	}
	if err == nil {
		err = errEndless
	}
	return nil, &RegisterError{Registrar: t.addr.String(), Err: err}
}
