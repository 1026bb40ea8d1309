package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// gatewaySide is the gateway's own figures of a bench: the caller's cannot tell
// what was lost on the way.
type gatewaySide struct {
	url    string
	before map[string]float64
}

// watchGateway begins with the figures of now. Without a URL nothing is read.
func watchGateway(ctx context.Context, url string) (g gatewaySide, err error) {
	if url == "" {
		return g, nil
	}
	before, err := scrape(ctx, url)
	return gatewaySide{url, before}, err
}

const (
	scrapeWithin  = 5 * time.Second
	renderedAfter = 5 * time.Minute // for the last recording to be rendered
)

// print waits until every recording is rendered, and says what that took.
func (g gatewaySide) print(ctx context.Context, out io.Writer) error {
	if g.url == "" {
		return nil
	}
	var now map[string]float64
	for deadline := time.Now().Add(renderedAfter); ; time.Sleep(time.Second) {
		var err error
		if now, err = scrape(ctx, g.url); err != nil {
			return err
		}
		if now["afterbeep_calls_active"] == 0 || time.Now().After(deadline) {
			break
		}
	}
	more := func(name string) float64 { return now[name] - g.before[name] }
	_, err := fmt.Fprintf(out, "gateway        %.0f packets rendered, %.0f lost, %.0f late; %.0f calls turned away; %.1f s of processor time, %.1f s of it the encoder's\n",
		more("afterbeep_rtp_packets_total"), more("afterbeep_rtp_lost_packets_total"), more("afterbeep_rtp_late_packets_total"),
		more("afterbeep_calls_turned_away_total"), more("process_cpu_seconds_total"), more("afterbeep_render_encoder_seconds_total"))
	return err
}

// scrape reads metrics in the text format of Prometheus, each summed up over
// its labels.
func scrape(ctx context.Context, url string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("--metrics: is the gateway's http.listen there? %w", err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("--metrics: %s says %s", url, response.Status)
	}
	figures := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if i := strings.LastIndexByte(lines.Text(), '}'); i >= 0 { // labels may hold blanks
			series, value = lines.Text()[:i], lines.Text()[i+1:]
		}
		name, _, _ := strings.Cut(series, "{")
		if n, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && !strings.HasPrefix(name, "#") {
			figures[name] += n
		}
	}
	return figures, lines.Err()
}
