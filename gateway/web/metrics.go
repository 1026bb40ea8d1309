package web

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/afterbeep/afterbeep/delivery"
)

// Kind is what a metric is to Prometheus.
type Kind string

// The kinds of metrics.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Metric is one line of the table of metrics.
type Metric struct {
	Name    string
	Kind    Kind
	Help    string
	Labels  []string
	Buckets []float64 // of a histogram, upper bounds in seconds
}

// The names of the metrics, in the order of MetricTable.
const (
	begunTotal       = "afterbeep_calls_begun_total"
	callsTotal       = "afterbeep_calls_total"
	bytesTotal       = "afterbeep_rtp_bytes_total"
	droppedTotal     = "afterbeep_rtp_dropped_packets_total"
	packetsTotal     = "afterbeep_rtp_packets_total"
	lostTotal        = "afterbeep_rtp_lost_packets_total"
	lateTotal        = "afterbeep_rtp_late_packets_total"
	concealedTotal   = "afterbeep_concealed_seconds_total"
	framesTotal      = "afterbeep_render_frames_total"
	encoderTotal     = "afterbeep_render_encoder_seconds_total"
	renderLag        = "afterbeep_render_lag_seconds"
	attemptsTotal    = "afterbeep_delivery_attempts_total"
	attemptSeconds   = "afterbeep_delivery_attempt_seconds"
	deliverySeconds  = "afterbeep_delivery_seconds"
	reportsTotal     = "afterbeep_delivery_reports_total"
	deadTotal        = "afterbeep_delivery_dead_total"
	storeErrorsTotal = "afterbeep_store_errors_total"
	retiredTotal     = "afterbeep_retired_total"
	breakerState     = "afterbeep_breaker_state"
	buildInfo        = "afterbeep_build_info"

	// Those for ReadFunc.
	Strangers     = "afterbeep_strangers_dropped_total"
	LateInvites   = "afterbeep_sip_late_invites_total"
	Unready       = "afterbeep_sip_handshakes_failed_total"
	LoginsRefused = "afterbeep_sip_logins_refused_total"
	AccountUp     = "afterbeep_account_registered"      // by account
	TurnedAway    = "afterbeep_calls_turned_away_total" // by why
	LampPeers     = "afterbeep_lamp_subscriptions"
	LampNotices   = "afterbeep_lamp_notifies_total" // by result
	HeldUp        = "afterbeep_notes_held_up"
	ActiveCalls   = "afterbeep_calls_active"
	QueueDepth    = "afterbeep_queue_jobs" // by state
	Mailboxes     = "afterbeep_directory_mailboxes"
	DirectoryUp   = "afterbeep_directory_up"
	Questions     = "afterbeep_directory_questions_total" // by outcome
	StoreFree     = "afterbeep_store_free_bytes"
	StoreFailed   = "afterbeep_store_failed"

	// Those for ReadFunc where many machines share the work.
	SharedUp          = "afterbeep_shared_up"
	SharedGate        = "afterbeep_shared_gate"
	SharedMachines    = "afterbeep_shared_machines"
	SharedUnpublished = "afterbeep_shared_unpublished"
)

// MetricTable is every metric of the gateway's own. None has a label that
// names a person, a number or a note.
func MetricTable() []Metric { return append(countedMetrics(), readMetrics()...) }

// countedMetrics are counted by the methods of Metrics.
func countedMetrics() []Metric {
	attempt := []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	delivery := []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
	return []Metric{
		{begunTotal, Counter, "Calls that came in from a trunk and were not turned away.", nil, nil},
		{callsTotal, Counter, "Calls that ended, by what became of them.", []string{"outcome"}, nil},
		{bytesTotal, Counter, "Bytes of RTP kept.", nil, nil},
		{droppedTotal, Counter, "Packets that were not taken as audio of the call, by why.", []string{"why"}, nil},
		{packetsTotal, Counter, "Audio packets rendered.", nil, nil},
		{lostTotal, Counter, "Audio packets that never came.", nil, nil},
		{lateTotal, Counter, "Audio packets that came after their place had been filled.", nil, nil},
		{concealedTotal, Counter, "Seconds of audio made up for lost packets.", nil, nil},
		{framesTotal, Counter, "Opus frames encoded, by encoder complexity.", []string{"complexity"}, nil},
		{encoderTotal, Counter, "Processor time the Opus encoder took.", nil, nil},
		{renderLag, Histogram, "Longest wait of a call's recording for its turn to be encoded.", nil, attempt},
		{attemptsTotal, Counter, "Attempts at delivery, by channel and outcome.", []string{"channel", "outcome"}, nil},
		{attemptSeconds, Histogram, "Time an attempt at delivery took, by channel.", []string{"channel"}, attempt},
		{deliverySeconds, Histogram, "Time from the end of the call to delivery, by channel.", []string{"channel"}, delivery},
		{reportsTotal, Counter, "What chat services told of notes after they took them, by channel.", []string{"channel", "what"}, nil},
		{deadTotal, Counter, "Jobs given up at their last channel.", []string{"channel"}, nil},
		{storeErrorsTotal, Counter, "Failures of the store, by what asked it.", []string{"op"}, nil},
		{retiredTotal, Counter, "What retention took: audio, whole notes, orphaned recordings.", []string{"what"}, nil},
	}
}

// readMetrics are read whenever the metrics are asked for, see ReadFunc. They
// have one label at most.
func readMetrics() []Metric {
	return []Metric{
		{buildInfo, Gauge, "1, with the version that runs.", []string{"version"}, nil},
		{Strangers, Counter, "SIP datagrams and connections dropped because no trunk sends from their address.", nil, nil},
		{LateInvites, Counter, "INVITEs dropped because they had waited for seconds when they were read, as when the machine was frozen.", nil, nil},
		{Unready, Counter, "Connections whose TLS or WebSocket handshake failed, for want of a fitting certificate most of all.", nil, nil},
		{LoginsRefused, Counter, "SIP logins refused because of a wrong user, password or realm.", nil, nil},
		{AccountUp, Gauge, "1 while a PBX sends calls by this account, 0 while it does not.", []string{"account"}, nil},
		{TurnedAway, Counter, "Calls that got 503 before anything else was done for them: draining, or over a limit (calls, rate, trunk_calls, trunk_rate).", []string{"why"}, nil},
		{LampPeers, Gauge, "Phones and PBXs that subscribe to the message lamp of a mailbox.", nil, nil},
		{LampNotices, Counter, "NOTIFYs about waiting messages, by result: taken, or failed, which are refused or not answered.", []string{"result"}, nil},
		{ActiveCalls, Gauge, "Calls in progress.", nil, nil},
		{HeldUp, Gauge, "Recordings that could not be made into notes, or forgotten, yet, and are tried again.", nil, nil},
		{QueueDepth, Gauge, "Jobs in the queue, by state.", []string{"state"}, nil},
		{Mailboxes, Gauge, "Mailboxes, ranges and wildcards that the configuration and the CSV file name.", nil, nil},
		{DirectoryUp, Gauge, "0 while the CSV file of mailboxes cannot be read, or the directory service does not answer: what was known before counts.", nil, nil},
		{Questions, Counter, "Questions to the directory service, by what came of them: found, none, failed.", []string{"outcome"}, nil},
		{StoreFree, Gauge, "Bytes free where the store is.", nil, nil},
		{SharedUp, Gauge, "1 while the Redis that the machines share can be used.", nil, nil},
		{SharedGate, Gauge, "1 while that Redis gives jobs out; 0 while it is told again what it may have forgotten.", nil, nil},
		{SharedMachines, Gauge, "Machines that share the work, as far as this one knows.", nil, nil},
		{SharedUnpublished, Gauge, "Jobs that the other machines are still to be told of.", nil, nil},
		{StoreFailed, Gauge, "1 when the disk failed: no call is taken until a restart.", nil, nil},
		{breakerState, Gauge, "A channel's circuit breaker: 0 closed, 1 half-open, 2 open.", []string{"channel"}, nil},
	}
}

// Metrics counts what the gateway does and answers GET /metrics. Its methods
// may be called by many goroutines.
type Metrics struct {
	registry   *prometheus.Registry
	handler    http.Handler
	counters   map[string]*prometheus.CounterVec
	histograms map[string]*prometheus.HistogramVec

	mu       sync.Mutex
	breakers map[string]float64 // by channel
}

// NewMetrics makes every metric of the table, besides those of the Go runtime
// and the process.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		counters:   map[string]*prometheus.CounterVec{},
		histograms: map[string]*prometheus.HistogramVec{},
		breakers:   map[string]float64{},
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, t := range countedMetrics() {
		switch t.Kind {
		case Counter:
			m.counters[t.Name] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: t.Name, Help: t.Help}, t.Labels)
			m.registry.MustRegister(m.counters[t.Name])
		case Histogram:
			m.histograms[t.Name] = prometheus.NewHistogramVec(
				prometheus.HistogramOpts{Name: t.Name, Help: t.Help, Buckets: t.Buckets}, t.Labels)
			m.registry.MustRegister(m.histograms[t.Name])
		case Gauge: // all of them are read
		}
		if len(t.Labels) == 0 { // shown as 0 before the first of its kind
			m.touch(t)
		}
	}
	m.ReadFunc(buildInfo, func(context.Context) (map[string]float64, error) {
		return map[string]float64{version: 1}, nil
	})
	m.ReadFunc(breakerState, func(context.Context) (map[string]float64, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		return maps.Clone(m.breakers), nil
	})
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, ErrorHandling: promhttp.ContinueOnError})
	return m
}

func (m *Metrics) touch(t Metric) {
	switch t.Kind {
	case Counter:
		m.counters[t.Name].WithLabelValues()
	case Histogram:
		m.histograms[t.Name].WithLabelValues()
	case Gauge:
	}
}

// ServeHTTP writes the metrics in Prometheus' text format or OpenMetrics.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }

// CallBegan counts a call that came in.
func (m *Metrics) CallBegan() { m.counters[begunTotal].WithLabelValues().Inc() }

// CallEnded counts a call, by one word for what became of it.
func (m *Metrics) CallEnded(outcome string) { m.counters[callsTotal].WithLabelValues(outcome).Inc() }

// Reception is what one call's socket received.
type Reception struct {
	Bytes   uint64 // kept
	Foreign uint64 // packets from a source that is not the caller's
	Invalid uint64 // packets from the caller that were no RTP of an agreed format
	Excess  uint64 // packets from the caller beyond what audio can be
}

// Received counts what a call's socket received.
func (m *Metrics) Received(r Reception) {
	m.counters[bytesTotal].WithLabelValues().Add(float64(r.Bytes))
	m.counters[droppedTotal].WithLabelValues("foreign").Add(float64(r.Foreign))
	m.counters[droppedTotal].WithLabelValues("invalid").Add(float64(r.Invalid))
	m.counters[droppedTotal].WithLabelValues("excess").Add(float64(r.Excess))
}

// Rendering is what rendering one note came to.
type Rendering struct {
	Packets, Lost, Late int
	Concealed           time.Duration
	Frames              map[int]int   // encoded, by Opus complexity
	Encoder             time.Duration // processor time it took
	Lag                 time.Duration // the longest a record waited for its turn
}

// Rendered counts a rendered note.
func (m *Metrics) Rendered(r Rendering) {
	m.counters[packetsTotal].WithLabelValues().Add(float64(r.Packets))
	m.counters[lostTotal].WithLabelValues().Add(float64(r.Lost))
	m.counters[lateTotal].WithLabelValues().Add(float64(r.Late))
	m.counters[concealedTotal].WithLabelValues().Add(r.Concealed.Seconds())
	for complexity, frames := range r.Frames {
		m.counters[framesTotal].WithLabelValues(strconv.Itoa(complexity)).Add(float64(frames))
	}
	m.counters[encoderTotal].WithLabelValues().Add(r.Encoder.Seconds())
	m.histograms[renderLag].WithLabelValues().Observe(r.Lag.Seconds())
}

// Attempt counts one attempt at delivery and how long it took.
func (m *Metrics) Attempt(channel string, outcome delivery.Outcome, took time.Duration) {
	m.counters[attemptsTotal].WithLabelValues(channel, string(outcome)).Inc()
	m.histograms[attemptSeconds].WithLabelValues(channel).Observe(took.Seconds())
}

// Delivered counts a note that arrived, since the end of its call; its id is
// the exemplar.
func (m *Metrics) Delivered(note delivery.Note, channel string) {
	seconds := m.histograms[deliverySeconds].WithLabelValues(channel)
	if e, ok := seconds.(prometheus.ExemplarObserver); ok {
		e.ObserveWithExemplar(time.Since(note.EndedAt).Seconds(), prometheus.Labels{"note_id": note.ID})
	}
}

// Dead counts a job that was given up, at the last channel of its chain.
func (m *Metrics) Dead(_, channel string) { m.counters[deadTotal].WithLabelValues(channel).Inc() }

// Reported counts what a channel's service told of a note.
func (m *Metrics) Reported(channel string, what delivery.What) {
	m.counters[reportsTotal].WithLabelValues(channel, string(what)).Inc()
}

// Breaker keeps a channel's breaker's state: closed, half-open or open.
func (m *Metrics) Breaker(channel, state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.breakers[channel] = map[string]float64{"closed": 0, "half-open": 1, "open": 2}[state]
}

// StoreError counts a failure of the store, by one word for what was asked of it.
func (m *Metrics) StoreError(op string) { m.counters[storeErrorsTotal].WithLabelValues(op).Inc() }

// Retired counts what retention took.
func (m *Metrics) Retired(r delivery.Retired) {
	for what, n := range map[string]int{"audio": r.Audio, "note": r.Notes, "orphan": r.Orphans} {
		m.counters[retiredTotal].WithLabelValues(what).Add(float64(n))
	}
}

// ReadFunc reads a metric of the table whenever the metrics are asked for: a
// value for each value of its label, or one under "" when it has none. When
// read fails the metric is left out. It panics on a name that the table does
// not have to be read, or that was given before.
func (m *Metrics) ReadFunc(name string, read func(ctx context.Context) (map[string]float64, error)) {
	table := readMetrics()
	i := slices.IndexFunc(table, func(t Metric) bool { return t.Name == name })
	if i < 0 {
		panic(fmt.Sprintf("no metric %q in the table is to be read", name))
	}
	t, kind := table[i], prometheus.GaugeValue
	if t.Kind == Counter {
		kind = prometheus.CounterValue
	}
	m.registry.MustRegister(&reading{prometheus.NewDesc(t.Name, t.Help, t.Labels, nil), kind, len(t.Labels), read})
}

// reading is a prometheus.Collector over a function.
type reading struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	labels int
	read   func(ctx context.Context) (map[string]float64, error)
}

// Describe is part of prometheus.Collector.
func (g *reading) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

// readWithin is how long reading may hold a scrape up.
const readWithin = 2 * time.Second

// Collect is part of prometheus.Collector.
func (g *reading) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	values, err := g.read(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(g.desc, err)
		return
	}
	for label, value := range values {
		ch <- prometheus.MustNewConstMetric(g.desc, g.kind, value, []string{label}[:g.labels]...)
	}
}
