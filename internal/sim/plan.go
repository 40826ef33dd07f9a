package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/waybillhq/waybill/relay"
)

// Plan names one schedule. The same plan gives the same schedule, to the last event.
type Plan struct {
	Seed    uint64
	Broken  Bug    // the known mistake to bring back; empty: none
	Without Faults // left out, though the seed draws them
	Most    int    // messages at most; 0: as the seed draws
}

// Faults is a set of faults.
type Faults uint32

// The faults. Each seed draws a subset: many bugs show only when most else is calm.
const (
	RelayCrash    Faults = 1 << iota // a process dies between two actions; what it wrote to a socket may still arrive
	RelayPause                       // a process freezes, often beyond its lease, and wakes
	RelayStop                        // a clean stop, and a new process
	DatabaseCrash                    // the unflushed tail of the log is gone, its transaction numbers are given out again
	DatabaseCut                      // a relay does not reach the database for a while
	SlowStatement                    // a statement rests on the server between its snapshot and its effect
	LazyFlush                        // the database flushes asynchronous commits late
	AsyncCommit                      // writers use synchronous_commit = off
	Rollback                         // writers roll back
	Savepoint                        // writers roll back to savepoints
	EarlyXid                         // writers take their transaction number before the key's lock
	LongTransaction
	Prepare       // writers commit in two phases; what is prepared survives a crash of the database
	LeaseDeleted  // somebody deletes the lease row
	Outage        // the broker refuses everything, or says nothing, for a while
	AckLost       // the broker stores a message and its answer is lost
	LateWrite     // writes and answers travel for long, some beyond the send timeout
	StuckKey      // the broker is out of reach for one key
	Reject        // the broker refuses some messages, for a while or until it is told to accept them
	MissingTopic  // the same for a topic
	SilentSink    // the sink says nothing at all about a message
	allFaults     = 1<<iota - 1
	numFaults     = 21
	brokerRefuses = StuckKey | Reject | MissingTopic
)

var faultNames = [numFaults]string{"relay crash", "relay pause", "relay stop", "database crash", "database cut", "slow statement", "lazy flush",
	"async commit", "rollback", "savepoint", "early xid", "long transaction", "prepare", "lease deleted", "outage", "ack lost", "late write", "stuck key", "reject",
	"missing topic", "silent sink"}

func (f Faults) String() string {
	var names []string
	for i, name := range faultNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// ParseFaults reads names with commas between.
func ParseFaults(text string) (f Faults, err error) {
	if text == "" {
		return 0, nil
	}
next:
	for name := range strings.SplitSeq(text, ",") {
		for i, known := range faultNames {
			if known == strings.TrimSpace(name) {
				f |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("no fault is named %q. Try: %s", name, Faults(allFaults))
	}
	return f, nil
}

// setup is what a plan's seed draws.
type setup struct {
	Plan
	faults   Faults
	messages int
	keys     int
	topics   int
	authors  int     // services that publish
	keyless  float64 // share of messages without a key
	relays   int
	cfg      relay.Config
	maxBatch int
	chaos    time.Duration // how long things go wrong

	think     time.Duration // between two steps of a writer
	latency   time.Duration // of one way to the database
	travel    time.Duration // of one way to the broker
	fsync     time.Duration
	walPause  time.Duration // until an asynchronous commit is flushed
	pollPause time.Duration
	idleMove  time.Duration // between two positions without messages
	patient   bool          // the sink's Publish returns when all is confirmed
	ranger    bool          // the source is a relay.Ranger
	fenced    bool          // the sink is a relay.Fencer
	ordered   bool          // the sink is a relay.OrderedBatch
}

func draw(p Plan) *setup {
	r := rand.New(rand.NewPCG(p.Seed, 1))
	pick := func(list ...time.Duration) time.Duration { return list[r.IntN(len(list))] }
	const ms, us = time.Millisecond, time.Microsecond
	s := &setup{Plan: p}
	density := []float64{0.1, 0.25, 0.4, 0.6}[r.IntN(4)]
	for i := range numFaults {
		if r.Float64() < density {
			s.faults |= 1 << i
		}
	}
	s.faults &^= p.Without
	s.messages = 3 + r.IntN(38)
	if r.IntN(4) == 0 {
		s.messages += r.IntN(20)
	}
	s.keys, s.topics, s.authors = 1+r.IntN(5), 1+r.IntN(2), 1+r.IntN(4)
	if r.IntN(64) == 0 { // more of one key than are taken out of the parked table at once
		s.messages, s.keys = 130, 1
	}
	if p.Most > 0 {
		s.messages = min(s.messages, p.Most)
	}
	if r.IntN(3) == 0 {
		s.keyless = r.Float64() / 2
	}
	s.relays = []int{1, 1, 2, 2, 3}[r.IntN(5)]
	s.chaos = pick(300*ms, time.Second, 3*time.Second, 8*time.Second)

	lease := pick(time.Second, 2*time.Second, 2*time.Second, 10*time.Second)
	s.cfg = relay.Config{
		Name: "sim", Lease: lease, SendTimeout: lease / time.Duration(2+r.IntN(4)), StuckAfter: pick(lease, 3*lease),
		OnRejected: relay.Hold, MaxHeld: 10_000,
		Window: []int{4, 6, 8, 16, 64}[r.IntN(5)], WindowBytes: []int{1 << 20, 1 << 20, 6 << 10}[r.IntN(3)],
	}
	if r.IntN(6) == 0 {
		s.cfg.OnRejected = relay.Park
	}
	s.maxBatch = []int{1000, 1000, 5, 1}[r.IntN(4)]
	s.think = max(s.chaos*time.Duration(s.authors)/time.Duration(4*s.messages), 200*us)
	s.latency, s.travel, s.fsync = pick(50*us, 200*us, 2*ms), pick(100*us, 500*us, 5*ms), pick(100*us, time.Millisecond, 5*ms)
	s.walPause = pick(10*ms, 200*ms)
	if s.faults&LazyFlush != 0 {
		s.walPause = s.chaos
	}
	s.pollPause, s.idleMove = pick(ms, 2*ms, 20*ms), pick(50*ms, time.Second)
	s.patient = r.IntN(4) == 0
	s.fenced = r.IntN(4) == 0
	if s.ranger = r.IntN(3) > 0; s.ranger {
		s.cfg.Source = rangerSource{}
	}
	if s.ordered = r.IntN(3) == 0; s.ordered {
		s.cfg.Sink = orderedSink{}
	}
	return s
}

func (s *setup) on(f Faults) bool { return s.faults&f != 0 }

// Repeat is the arguments that bring the schedule back.
func (p Plan) Repeat() string {
	text := fmt.Sprintf("-sim.seed=%#x", p.Seed)
	if p.Broken != "" {
		text += fmt.Sprintf(" -sim.broken=%q", p.Broken)
	}
	if p.Without != 0 {
		text += fmt.Sprintf(" -sim.without=%q", p.Without)
	}
	if p.Most > 0 {
		text += fmt.Sprintf(" -sim.messages=%d", p.Most)
	}
	return text
}
