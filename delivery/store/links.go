package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
)

const (
	tokenBytes      = 20 // 160 bits: not to be guessed
	signingKeyBytes = 32
)

// LinkFor implements delivery.Links.
func (s *Store) LinkFor(ctx context.Context, mailbox string) (string, error) {
	const kept = "SELECT token FROM link WHERE mailbox = ?"
	token, err := orMake(s.readers.QueryRowContext(ctx, kept, mailbox), func() (string, error) {
		return write(ctx, s, func(tx *txn) (string, error) {
			return orMake(tx.row(kept, mailbox), func() (string, error) {
				token := base64.RawURLEncoding.EncodeToString(randomBytes(tokenBytes))
				_, err := tx.exec("INSERT INTO link (mailbox, token) VALUES (?, ?)", mailbox, token)
				return token, err
			})
		})
	})
	if err != nil {
		return "", fmt.Errorf("the link of a mailbox: %w", err)
	}
	return token, nil
}

// LinkOwner implements delivery.Links.
func (s *Store) LinkOwner(ctx context.Context, token string) (mailbox string, err error) {
	err = s.readers.QueryRowContext(ctx, "SELECT mailbox FROM link WHERE token = ?", token).Scan(&mailbox)
	return mailbox, found(err)
}

// SigningKey implements delivery.Links. It is 32 random bytes.
func (s *Store) SigningKey(ctx context.Context) ([]byte, error) {
	key, err := write(ctx, s, func(tx *txn) ([]byte, error) {
		return orMake(tx.row("SELECT value FROM setting WHERE name = 'signing_key'"), func() ([]byte, error) {
			key := randomBytes(signingKeyBytes)
			_, err := tx.exec("INSERT INTO setting (name, value) VALUES ('signing_key', ?)", key)
			return key, err
		})
	})
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

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}
