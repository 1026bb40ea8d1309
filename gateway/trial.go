package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/gateway/control"
	"github.com/afterbeep/afterbeep/media"
)

// trialTime is what a sample note may take, as long as an attempt of the worker
// where the channel asks for no more: a person waits for the answer.
const trialTime = 30 * time.Second

// try sends a sample note through one of the channels, beside the queue: it is
// kept nowhere, and tried once.
func (g *gateway) try(ctx context.Context, t control.Trial) control.Tried {
	c, ok := g.channels[t.Target.Channel]
	if !ok {
		return failedTrial(errors.New("the running gateway has no channel of this name; restart it with the new file"), 0)
	}
	p, err := sample(t, g.cfg.HTTP)
	if err != nil {
		return failedTrial(err, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	began := time.Now()
	receipt, err := c.Send(ctx, p)
	took := time.Since(began)
	tried := control.Tried{Took: took}
	if err != nil {
		tried = failedTrial(err, took)
	}
	tried.Receipt = receipt
	return tried
}

func failedTrial(err error, took time.Duration) control.Tried {
	failed := control.Failed{Outcome: delivery.Unknown, Text: err.Error()}
	if e := (*delivery.SendError)(nil); errors.As(err, &e) {
		failed = control.Failed{Outcome: e.Outcome, Credentials: e.Credentials, After: e.After, Text: e.Err.Error()}
	}
	return control.Tried{Took: took, Failed: &failed}
}

// sample is a note with the demo's speech, as the worker would hand it over.
func sample(t control.Trial, o config.HTTP) (delivery.Parcel, error) {
	said, err := loadSound("")
	if err != nil {
		return delivery.Parcel{}, err
	}
	var rendered bytes.Buffer
	facts, err := media.RenderAudio(said.audio, &rendered, media.RenderOptions{})
	if err != nil {
		return delivery.Parcel{}, err
	}
	id, now, file := delivery.NewID(), time.Now(), rendered.Bytes()
	return delivery.Parcel{
		Key: id, Address: t.Target.Address, Attempt: 1,
		Note: delivery.Note{
			ID: id, State: delivery.Rendered, Kind: delivery.Voice, Recipient: t.Recipient,
			Caller:   delivery.Caller{Name: "Afterbeep", Number: demoCaller},
			CalledAt: now.Add(-facts.Duration), EndedAt: now, Duration: facts.Duration,
			Waveform: facts.Waveform, Loudness: facts.Loudness,
			Media: delivery.Media{Type: "audio/ogg; codecs=opus", Bytes: facts.Bytes},
		},
		Open: func(context.Context) (io.ReadSeekCloser, error) { return unclosed{bytes.NewReader(file)}, nil },
		Link: leadsNowhere(o, "/media/"+id), Page: leadsNowhere(o, "/note/"+id),
		Convert: func(ctx context.Context, mimeType string) ([]byte, error) {
			return convert(ctx, bytes.NewReader(file), mimeType)
		},
	}, nil
}

// unclosed is a file in memory.
type unclosed struct{ *bytes.Reader }

func (unclosed) Close() error { return nil }

// leadsNowhere makes links that look like a note's; there is no note behind.
func leadsNowhere(o config.HTTP, path string) func(time.Time) string {
	return func(time.Time) string {
		if o.PublicURL == "" {
			return ""
		}
		return strings.TrimSuffix(o.PublicURL, "/") + path
	}
}
