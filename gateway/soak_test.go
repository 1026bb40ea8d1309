package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// soak is three gateways that share their work over one Redis with a replica,
// callers who speak to them all the time, chat services in moods, and blows.
type soak struct {
	seed    uint64
	rng     *rand.Rand
	setup   *redistest.Setup
	chat    *flaky
	wa      *tardy
	members []*member
	crowd   *crowd
	later   []later
	struck  map[string]int

	redisStruck []time.Time
}

// later is what is to be done when its time comes.
type later struct {
	due   time.Time
	redis bool // it mends Redis
	do    func()
}

const (
	soakKills   = 20 // without AFTERBEEP_SOAK_KILLS
	soakMembers = 3

	soakWebhooks = 4 // of the mailboxes; the others' notes go to WhatsApp first
)

var soakMailboxes = []string{"+4930123450", "+4930123451", "+4930123452", "+4930123453", "+4930123454", "+4930123455"}

// blows are what strikes the fleet: each set of twenty has so many of each, in
// any order.
var blows = []struct {
	name   string
	share  int
	strike func(*soak, *testing.T)
}{
	{"gateway killed", 12, (*soak).killGateway},
	{"Redis killed", 2, (*soak).killRedis},
	{"Redis stalled", 2, (*soak).stallRedis},
	{"Redis deposed", 1, (*soak).deposeRedis},
	{"Redis flushed", 2, (*soak).flushRedis},
	{"replica stalled", 1, (*soak).stallReplica},
}

// While gateways and Redis are killed, stalled and emptied again and again, no
// note that was promised is lost, and none comes twice but where its answer was
// lost, or the word that it was delivered was late. AFTERBEEP_SOAK_KILLS says how
// many blows, AFTERBEEP_SOAK_SEED repeats their order.
func TestSoak(t *testing.T) {
	number := os.Getenv("AFTERBEEP_SOAK_KILLS")
	if number == "" && os.Getenv("CI") == "" {
		t.Skip("a minute and a half: AFTERBEEP_SOAK_KILLS=20 runs it")
	}
	count := soakKills
	if number != "" {
		var err error
		if count, err = strconv.Atoi(number); err != nil {
			t.Fatal(err)
		}
	}
	s := newSoak(t)
	t.Logf("AFTERBEEP_SOAK_SEED=%d", s.seed)
	calling, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	spoken := make(chan struct{})
	go func() {
		defer close(spoken)
		s.crowd.speak(calling, s.members)
	}()
	s.batter(t, count)
	hangUp()
	<-spoken
	s.chat.calm()
	s.wa.calm()
	s.settle(t)
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{seed: uint64(time.Now().UnixNano()), struck: map[string]int{}}
	if given := os.Getenv("AFTERBEEP_SOAK_SEED"); given != "" {
		var err error
		if s.seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	chance := func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, stream)) }
	s.rng = chance(1)
	s.setup = redistest.Replicated(t)
	s.chat = newFlaky(t, chance(2))
	s.wa = newTardy(t, chance(4))
	s.crowd = &crowd{
		caller: testCaller(t), rng: chance(3),
		said: &sound{audio: audioOf(speech(t, 4*time.Second)), coded: map[string][][]byte{}},
	}
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	run(t, "keys", "new", keys)
	for i := range soakMembers {
		m := &member{name: string(rune('a' + i))}
		m.path = s.config(t, filepath.Join(dir, m.name), m.name, keys)
		m.start(t)
		s.members = append(s.members, m)
	}
	s.wa.members = s.members
	return s
}

// config writes the configuration of a member.
func (s *soak) config(t *testing.T, dir, name, keys string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := configFile(t, dir, s.chat.URL+"/"+name, "no_rtp: 40s")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.NewReplacer(
		"{path: data}", fmt.Sprintf("{path: data, key_file: %s, redis: %q}", keys, s.setup.URL),
		`{listen: "127.0.0.1:0"}`, `{listen: "127.0.0.1:0", public_url: "https://notes.example"}`,
		"channels:\n", "channels:\n"+fmt.Sprintf(whatsAppChannel, waNumberID, waAppSecret, soakWithin, s.wa.URL+"/"+name),
	).Replace(string(text))
	for _, number := range soakMailboxes {
		whole += fmt.Sprintf("  - {number: %q, name: %q, deliver: %s}\n", number, number, soakChain(number))
	}
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// batter strikes count times, and mends in between.
func (s *soak) batter(t *testing.T, count int) {
	t.Helper()
	var set []int
	for i := range count {
		s.wait(time.Duration(300+s.rng.IntN(1700)) * time.Millisecond)
		if len(set) == 0 {
			for b, blow := range blows {
				set = append(set, slices.Repeat([]int{b}, blow.share)...)
			}
			s.rng.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
		}
		blow := blows[set[0]]
		set = set[1:]
		blow.strike(s, t)
		s.struck[blow.name]++
		if !strings.HasPrefix(blow.name, "gateway") {
			s.redisStruck = append(s.redisStruck, time.Now())
		}
		if (i+1)%5 == 0 {
			arrived := len(s.chat.arrivals())
			t.Logf("%d blows, %d notes have arrived", i+1, arrived)
		}
	}
	s.wait(time.Second)
	for len(s.later) > 0 {
		s.next()
	}
}

// wait waits, and does what falls due meanwhile.
func (s *soak) wait(d time.Duration) {
	end := time.Now().Add(d)
	for len(s.later) > 0 && s.later[0].due.Before(end) {
		s.next()
	}
	time.Sleep(time.Until(end))
}

// next does what is due next, at its time.
func (s *soak) next() {
	next := s.later[0]
	s.later = s.later[1:]
	time.Sleep(time.Until(next.due))
	next.do()
}

// after has something done after a random time.
func (s *soak) after(least, most time.Duration, redis bool, do func()) {
	due := time.Now().Add(least + time.Duration(s.rng.Int64N(int64(most-least))))
	s.later = append(s.later, later{due, redis, do})
	slices.SortStableFunc(s.later, func(a, b later) int { return cmp.Compare(a.due.UnixNano(), b.due.UnixNano()) })
}

func (s *soak) killGateway(t *testing.T) {
	t.Helper()
	for {
		var alive []*member
		for _, m := range s.members {
			if m.sip().IsValid() {
				alive = append(alive, m)
			}
		}
		if len(alive) > 0 {
			m := alive[s.rng.IntN(len(alive))]
			m.kill()
			s.after(100*time.Millisecond, 3*time.Second, false, func() { m.start(t) })
			return
		}
		s.next()
	}
}

// mended waits until Redis is well: it bears one blow at a time.
func (s *soak) mended() {
	for slices.ContainsFunc(s.later, func(l later) bool { return l.redis }) {
		s.next()
	}
}

func (s *soak) killRedis(t *testing.T) {
	t.Helper()
	s.mended()
	s.setup.Servers[0].Kill()
	s.after(time.Second, 3*time.Second, true, func() { s.setup.Promoted(t); s.setup.Return(t) })
}

// stallRedis has the master stand still, for longer than a lease lasts at times;
// no failover comes of it.
func (s *soak) stallRedis(t *testing.T) {
	t.Helper()
	s.mended()
	s.setup.Servers[0].Pause()
	s.after(3*time.Second, 12*time.Second, true, s.setup.Servers[0].Resume)
}

// deposeRedis has the master stand still until the replica has its place; then
// it goes on as a master for a while.
func (s *soak) deposeRedis(t *testing.T) {
	t.Helper()
	s.mended()
	s.setup.Servers[0].Pause()
	s.after(0, time.Second, true, func() { // Sentinel takes some seconds more
		s.setup.Promoted(t)
		s.setup.Servers[0].Resume()
		s.after(0, time.Second, true, func() { s.setup.Return(t) })
	})
}

func (s *soak) flushRedis(*testing.T) {
	s.mended()
	s.setup.Flush()
}

func (s *soak) stallReplica(t *testing.T) {
	t.Helper()
	s.mended()
	replica := s.setup.Servers[1]
	replica.Pause()
	s.after(time.Second, 3*time.Second, true, replica.Resume)
}
