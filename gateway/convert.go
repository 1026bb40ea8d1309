package main

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/media"
)

// conversions are the forms that notes' files can be brought into, by MIME type.
func conversions() map[string]func(ctx context.Context, note io.Reader) ([]byte, error) {
	return map[string]func(context.Context, io.Reader) ([]byte, error){media.MP3Type: media.MP3}
}

// convert brings a note's file into another form.
func convert(ctx context.Context, note io.Reader, mimeType string) ([]byte, error) {
	into, ok := conversions()[mimeType]
	if !ok {
		return nil, fmt.Errorf("notes are not converted to %s", mimeType)
	}
	return into(ctx, note)
}

// converter brings notes' files into other forms, by half of the processors at
// most: the calls need the others.
type converter struct {
	files delivery.Opener
	turns chan struct{}
}

func newConverter(files delivery.Opener) *converter {
	return &converter{files, make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

func (c *converter) convert(ctx context.Context, id, mimeType string) ([]byte, error) {
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	file, _, err := c.files.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read from
	return convert(ctx, file, mimeType)
}
