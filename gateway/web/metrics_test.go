package web

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestMetrics(t *testing.T) {
	s := newServer(t, newMemory(), nil)
	m := s.o.Metrics
	m.CallBegan()
	m.CallEnded("voice")
	m.Received(Reception{Bytes: 1000, Foreign: 2, Invalid: 3, Excess: 4})
	m.Rendered(Rendering{Packets: 100, Lost: 5, Late: 1, Concealed: 1500 * time.Millisecond, Frames: map[int]int{2: 50, 9: 7}, Lag: 20 * time.Millisecond})
	m.Attempt("crm", delivery.Retry, 300*time.Millisecond)
	m.Delivered(delivery.Note{ID: delivery.NewID(), EndedAt: time.Now().Add(-20 * time.Second)}, "crm")
	m.Dead("", "crm")
	m.Reported("crm", delivery.WasRead)
	m.Breaker("crm", "open")
	m.ReadFunc(Strangers, func(context.Context) (map[string]float64, error) { return map[string]float64{"": 1}, nil })
	m.ReadFunc(TurnedAway, func(context.Context) (map[string]float64, error) { return map[string]float64{"rate": 9}, nil })
	m.ReadFunc(LampPeers, func(context.Context) (map[string]float64, error) { return map[string]float64{"": 8}, nil })
	m.ReadFunc(LampNotices, func(context.Context) (map[string]float64, error) { return map[string]float64{"taken": 9}, nil })
	m.ReadFunc(Unready, func(context.Context) (map[string]float64, error) { return map[string]float64{"": 2}, nil })
	m.ReadFunc(LateInvites, func(context.Context) (map[string]float64, error) { return map[string]float64{"": 12}, nil })
	m.ReadFunc(LoginsRefused, func(context.Context) (map[string]float64, error) { return map[string]float64{"": 8}, nil })
	m.ReadFunc(AccountUp, func(context.Context) (map[string]float64, error) { return map[string]float64{"pbx": 1}, nil })
	m.ReadFunc(HeldUp, func(context.Context) (map[string]float64, error) { return map[string]float64{"": 6}, nil })
	m.StoreError("begin")
	m.ReadFunc(ActiveCalls, func(context.Context) (map[string]float64, error) { return map[string]float64{"": 3}, nil })
	m.ReadFunc(QueueDepth, func(context.Context) (map[string]float64, error) {
		return map[string]float64{"queued": 4, "dead": 1}, nil
	})
	m.Retired(delivery.Retired{Audio: 7, Notes: 5, Orphans: 1})
	m.ReadFunc(StoreFree, func(context.Context) (map[string]float64, error) { return map[string]float64{"": 4096}, nil })
	m.ReadFunc(StoreFailed, func(context.Context) (map[string]float64, error) { return map[string]float64{"": 1}, nil })
	m.ReadFunc(Questions, func(context.Context) (map[string]float64, error) {
		return map[string]float64{"found": 8, "failed": 2}, nil
	})
	for i, name := range []string{SharedUp, SharedGate, SharedMachines, SharedUnpublished, DirectoryUp, Mailboxes} {
		m.ReadFunc(name, func(context.Context) (map[string]float64, error) { return map[string]float64{"": float64(i)}, nil })
	}
	got := ask(t, s, "GET", "/metrics").Body.String()
	for _, want := range []string{
		`afterbeep_calls_begun_total 1`,
		`afterbeep_calls_total{outcome="voice"} 1`,
		`afterbeep_rtp_bytes_total 1000`,
		`afterbeep_rtp_dropped_packets_total{why="foreign"} 2`,
		`afterbeep_rtp_dropped_packets_total{why="invalid"} 3`,
		`afterbeep_rtp_dropped_packets_total{why="excess"} 4`,
		`afterbeep_rtp_packets_total 100`,
		`afterbeep_rtp_lost_packets_total 5`,
		`afterbeep_rtp_late_packets_total 1`,
		`afterbeep_concealed_seconds_total 1.5`,
		`afterbeep_render_frames_total{complexity="2"} 50`,
		`afterbeep_render_frames_total{complexity="9"} 7`,
		`afterbeep_render_lag_seconds_bucket{le="0.01"} 0`,
		`afterbeep_render_lag_seconds_bucket{le="0.025"} 1`,
		`afterbeep_delivery_attempts_total{channel="crm",outcome="retry"} 1`,
		`afterbeep_delivery_attempt_seconds_count{channel="crm"} 1`,
		`afterbeep_delivery_seconds_bucket{channel="crm",le="10"} 0`,
		`afterbeep_delivery_seconds_bucket{channel="crm",le="30"} 1`,
		`afterbeep_delivery_seconds_bucket{channel="crm",le="3600"} 1`,
		`afterbeep_delivery_dead_total{channel="crm"} 1`,
		`afterbeep_delivery_reports_total{channel="crm",what="read"} 1`,
		`afterbeep_breaker_state{channel="crm"} 2`,
		`afterbeep_strangers_dropped_total 1`,
		`afterbeep_calls_turned_away_total{why="rate"} 9`,
		`afterbeep_lamp_subscriptions 8`,
		`afterbeep_lamp_notifies_total{result="taken"} 9`,
		`afterbeep_sip_handshakes_failed_total 2`,
		`afterbeep_sip_logins_refused_total 8`,
		`afterbeep_sip_late_invites_total 12`,
		`afterbeep_account_registered{account="pbx"} 1`,
		`afterbeep_store_errors_total{op="begin"} 1`,
		`afterbeep_shared_up 0`,
		`afterbeep_shared_gate 1`,
		`afterbeep_shared_machines 2`,
		`afterbeep_shared_unpublished 3`,
		`afterbeep_directory_up 4`,
		`afterbeep_directory_mailboxes 5`,
		`afterbeep_directory_questions_total{outcome="found"} 8`,
		`afterbeep_directory_questions_total{outcome="failed"} 2`,
		`afterbeep_calls_active 3`,
		`afterbeep_notes_held_up 6`,
		`afterbeep_queue_jobs{state="dead"} 1`,
		`afterbeep_queue_jobs{state="queued"} 4`,
		`afterbeep_retired_total{what="audio"} 7`,
		`afterbeep_retired_total{what="note"} 5`,
		`afterbeep_retired_total{what="orphan"} 1`,
		`afterbeep_store_free_bytes 4096`,
		`afterbeep_store_failed 1`,
		`afterbeep_build_info{version="test"} 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	for _, line := range MetricTable() {
		if !strings.Contains(got, "# TYPE "+line.Name+" "+string(line.Kind)+"\n") {
			t.Errorf("nothing above counts %s", line.Name)
		}
	}
}

func TestMetricTableKeepsToTheRules(t *testing.T) {
	name := regexp.MustCompile(`^afterbeep_[a-z_]+$`)
	for _, line := range MetricTable() {
		if !name.MatchString(line.Name) || line.Help == "" || (line.Kind == Counter) != strings.HasSuffix(line.Name, "_total") {
			t.Errorf("%+v", line)
		}
		if (line.Kind == Histogram) != (len(line.Buckets) > 0) || !slices.IsSorted(line.Buckets) {
			t.Errorf("%s: buckets %v", line.Name, line.Buckets)
		}
		if line.Kind == Gauge && len(line.Labels) > 1 {
			t.Errorf("%s: labels %v", line.Name, line.Labels)
		}
	}
}

func TestFailingReadingLeavesTheOthers(t *testing.T) {
	s := newServer(t, newMemory(), nil)
	s.o.Metrics.ReadFunc(QueueDepth, func(context.Context) (map[string]float64, error) { return nil, errors.New("store closed") })
	got := ask(t, s, "GET", "/metrics").Body.String()
	if strings.Contains(got, "afterbeep_queue_jobs") || !strings.Contains(got, "afterbeep_rtp_packets_total 0\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestMetricsNameNobody(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	n := m.add(delivery.Note{Kind: delivery.Voice, Caller: delivery.Caller{Number: "+493055501234", Name: "Maria Kowalski"}})
	s.o.Metrics.Delivered(n, "inbox")
	got := ask(t, s, "GET", "/metrics", header("Accept", "application/openmetrics-text")).Body.String()
	if !strings.Contains(got, `# {note_id="`+n.ID+`"}`) {
		t.Errorf("no exemplar in\n%s", got)
	}
	for _, private := range []string{n.Caller.Number, n.Caller.Name, n.Recipient.Number} {
		if strings.Contains(got, private) {
			t.Errorf("%q is in the metrics", private)
		}
	}
}
