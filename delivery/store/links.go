package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
)

const (
	tokenBytes      = 20 // 160 bits: not to be guessed
	signingKeyBytes = 32
)

// linkBody is a link as its row keeps it: the row's other columns only find it.
type linkBody struct {
	Mailbox string `json:"mailbox"`
	Token   string `json:"token"`
}

// LinkFor implements delivery.Links.
func (s *Store) LinkFor(ctx context.Context, mailbox string) (string, error) {
	const query = "SELECT body FROM link WHERE mailbox = ?"
	index := s.vault.mailbox(mailbox)
	body, err := orMake(s.readers.QueryRowContext(ctx, query, index), func() ([]byte, error) {
		return write(ctx, s, func(tx *txn) ([]byte, error) {
			return orMake(tx.row(query, index), func() ([]byte, error) {
				return tx.addLink(s.box, linkBody{mailbox, newToken()})
			})
		})
	})
	if err != nil {
		return "", fmt.Errorf("the link of a mailbox: %w", err)
	}
	var l linkBody
	err = s.box.openJSON("link", body, &l)
	return l.Token, err
}

func (t *txn) addLink(b *box, l linkBody) ([]byte, error) {
	body, err := b.sealJSON("link", l)
	if err != nil {
		return nil, err
	}
	_, err = t.exec("INSERT INTO link (mailbox, token, body) VALUES (?, ?, ?)", t.vault.mailbox(l.Mailbox), tokenHash(l.Token), body)
	return body, err
}

// LinkOwner implements delivery.Links.
func (s *Store) LinkOwner(ctx context.Context, token string) (mailbox string, err error) {
	var (
		body []byte
		l    linkBody
	)
	err = s.readers.QueryRowContext(ctx, "SELECT body FROM link WHERE token = ?", tokenHash(token)).Scan(&body)
	if err != nil {
		return "", found(err)
	}
	err = s.box.openJSON("link", body, &l)
	return l.Mailbox, err
}

// newToken mints the token of a link.
func newToken() string { return base64.RawURLEncoding.EncodeToString(randomBytes(tokenBytes)) }

// tokenHash is what finds a link by its token. The token is random: its hash
// needs no key.
func tokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// SigningKey implements delivery.Links. It is 32 random bytes.
func (s *Store) SigningKey(ctx context.Context) ([]byte, error) {
	key, err := write(ctx, s, func(tx *txn) ([]byte, error) {
		return orMake(tx.row("SELECT value FROM setting WHERE name = 'signing_key'"), func() ([]byte, error) {
			sealed := s.box.seal("signing_key", randomBytes(signingKeyBytes))
			_, err := tx.exec("INSERT INTO setting (name, value) VALUES ('signing_key', ?)", sealed)
			return sealed, err
		})
	})
	if err == nil {
		key, err = s.box.open("signing_key", key)
	}
	if err != nil {
		return nil, fmt.Errorf("the signing key: %w", err)
	}
	return key, nil
}

// orMake reads one value, or makes it when there is none.
func orMake[T any](row *sql.Row, mint func() (T, error)) (v T, err error) {
	if err = row.Scan(&v); errors.Is(err, sql.ErrNoRows) {
		return mint()
	}
	return v, err
}
