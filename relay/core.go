package relay

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// core is the relay as a step machine: step takes what happened and returns what to do. It has no goroutine, clock, I/O or
// unordered map inside, so that the simulation can drive the very code that runs in production. Times count from the
// relay's start on a clock that never jumps.
type core struct {
	cfg      Config
	maxBatch int
	ranger   bool                    // the source can read a topic's part of the log again
	ordered  bool                    // the sink keeps a key's order inside one Publish
	wants    func(topic string) bool // of the topics that this relay publishes
	rand     *rand.Rand
	broken   bug // simulation only: the known mistake to bring back
	now      time.Duration
	out      []action

	phase   phase
	end     ending // why a tenure ends, while draining
	endErr  error
	stop    bool // a person asked to stop
	asked   time.Duration
	lease   Lease
	until   time.Duration // the lease is ours before this moment
	owner   string        // who else owns the relay, when somebody does
	nextTry time.Duration // of acquire
	fails   int           // of source or store, in a row
	nextRen time.Duration

	// One of each may be under way.
	acquiring, opening, opened, renewing, reading, saving, loading, sending bool

	window                // of the relay's own cursor
	branches    []*branch // topics that wait, by name
	branchNames []string  // of them; a new slice at every change
	awake       *branch   // the one whose messages are tried
	merging     bool      // nothing is read, so that the relay's cursor stands still while a branch comes to it
	mergeBy     time.Duration
	inflight    int
	ready       []*entry
	weedy       bool // not all of ready is to be sent any more
	lanes       map[string]*lane
	waiting     laneHeap       // lanes that wait for a moment
	toLoad      []*lane        // held lanes whose stored messages are wanted
	lone        int            // lanes of one message without a key
	held        int            // lanes with messages in the parked table
	heldOf      map[string]int // the same by the topic that was refused
	loaded      int            // bytes in memory that came from there

	written   []Branch      // of the save under way
	toSave    Save          // what the next save carries, but for the position
	parking   []*entry      // the entries of toSave.Park
	touched   []*lane       // the lanes of whose parked messages toSave changes something, once for each change
	unsaved   []*lane       // the same of the save under way
	savedAt   time.Duration // when the last save began
	savePause time.Duration
	finalSave bool          // the last save of a tenure is done
	fillBy    time.Duration // while stopping: until when gaps are filled; 0: not (any more)

	confirmed   time.Duration // the last confirmation
	answered    time.Duration // the last outcome that was not temporary: the broker is there
	streak      int           // temporary failures since
	probeAt     time.Duration
	publishedN  uint64
	lastErr     string
	asideErr    string // why something was last set aside
	parkedN     uint64 // messages that wait for a person, since Run
	heldN       uint64 // messages that were set aside to be tried again
	retriedN    uint64 // failures after which a message is sent again
	skippedN    uint64 // messages of topics that are another relay's
	everSuccess bool
}

type phase int

const (
	standby  phase = iota // not the owner
	running               // the owner, reading and sending
	draining              // the owner no longer, or not for long: waits for what is under way
	stopped
)

// ending is why a tenure ends.
type ending int

const (
	endReload ending = iota // source or store in doubt: throw away all memory, take the lease anew
	endLost                 // somebody else owns the relay
	endAsked                // a person wants what happens between two tenures
	endStop                 // a person asked for the end
	endHalt                 // the relay must not go on by itself; source and store are well
	endFatal                // going on could break the promise
)

func newCore(cfg Config, maxBatch int, rnd *rand.Rand) *core {
	_, ordered := cfg.Sink.(OrderedBatch)
	_, ranger := cfg.Source.(Ranger)
	return &core{cfg: cfg, maxBatch: maxBatch, ordered: ordered, ranger: ranger, wants: TopicMatcher(cfg.Topics), rand: rnd, lanes: map[string]*lane{}}
}

func (c *core) step(now time.Duration, ev event) []action {
	c.now, c.out = now, nil
	switch ev := ev.(type) {
	case evTick:
	case evStop:
		c.stop = true
		if c.phase == running || c.phase == draining && c.end == endAsked {
			c.drain(endStop, nil)
		}
	case evAcquired:
		c.onAcquired(ev)
	case evOpened:
		c.opening = false
		if c.opened = c.check(ev.err); c.opened { // only now: the source may fail at every tenure
			c.fails = 0
		}
	case evRenewed:
		c.renewing = false
		if c.check(ev.err) {
			c.until = ev.sent + c.cfg.Lease
			if ev.asked && c.phase == running {
				c.drain(endAsked, nil)
			}
		}
	case evRead:
		c.onRead(ev)
	case evSent:
		c.sending = false
	case evConfirmed:
		for _, cf := range ev.list {
			c.onConfirmed(cf.entry, cf.err)
		}
	case evSaved:
		c.onSaved(ev)
	case evHeld:
		c.onHeld(ev)
	case evRangeOpened:
		c.onRangeOpened(ev)
	case evRange:
		c.onRange(ev)
	}
	c.advance()
	return c.out
}

// advance asks for all that can be done now.
func (c *core) advance() {
	if c.phase == running && c.now >= c.until {
		c.drain(endLost, fmt.Errorf("waybill: WB5003 the lease ran out: it could not be renewed in time"))
	}
	switch c.phase {
	case standby:
		if c.stop && !c.acquiring {
			c.finish(nil)
		} else if !c.acquiring && c.now >= c.nextTry {
			c.acquiring, c.asked = true, c.now
			c.do(actAcquire{})
		}
	case running:
		c.renew()
		if c.opened {
			c.wakeLanes()
			c.load()
			c.tendBranches()
			c.dispatch()
			c.save(false)
			c.read()
		}
	case draining:
		c.advanceDrain()
	}
}

func (c *core) do(a action) { c.out = append(c.out, a) }

func (c *core) onAcquired(ev evAcquired) {
	c.acquiring = false
	var other *HeldError
	switch {
	case ev.err == nil:
		c.owner, c.lastErr = c.cfg.Owner, ""
		c.lease, c.until, c.nextRen = ev.tenure.Lease, c.asked+c.cfg.Lease, c.asked+c.cfg.Lease/3
		c.startTenure(ev.tenure)
		if len(c.branches) > 0 && !c.ranger {
			c.drain(endFatal, fmt.Errorf("waybill: WB5009 relay %q stops: %d topics wait, %q first, and the source cannot read a part of its log again. Try: the source that the relay had before; a type around a source must let OpenRange through",
				c.cfg.Name, len(c.branches), c.branches[0].topic))
		}
		if c.stop {
			c.drain(endStop, nil)
		}
	case errors.As(ev.err, &other):
		c.owner, c.fails = other.Owner, 0
		c.nextTry = c.now + min(max(other.For, 10*time.Millisecond), time.Second)
	case IsFatal(ev.err):
		c.finish(ev.err)
	default:
		c.fail(ev.err)
	}
}

func (c *core) startTenure(t Tenure) {
	c.phase, c.opening = running, true
	c.window, c.inflight, c.ready = window{limit: c.cfg.Window, limitBytes: c.cfg.WindowBytes, saved: t.Position}, 0, nil
	c.lanes, c.waiting, c.toLoad, c.lone, c.held, c.heldOf = map[string]*lane{}, nil, nil, 0, 0, map[string]int{}
	c.toSave, c.parking, c.touched, c.unsaved, c.finalSave, c.loaded = Save{}, nil, nil, nil, false, 0
	c.streak, c.savePause, c.fillBy = 0, 0, 0
	c.startBranches(t.Branches)
	if c.broken != bugHeldForgotten {
		for _, stored := range t.Held {
			if stored == "" { // a row that somebody made by hand
				continue
			}
			l := &lane{name: laneName(stored), stage: laneHeld}
			c.lanes[l.name] = l
			c.held++
			if l.name[0] == 0 {
				c.lone++
			}
			c.wait(l, c.now+c.jitter(time.Second))
		}
	}
	c.do(actOpen{t.Position, t.Lease.Epoch})
}

// check ends the tenure when a call to source or store failed, and tells whether it went well.
func (c *core) check(err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, ErrLost):
		c.drain(endLost, err)
	case IsFatal(err):
		c.drain(endFatal, err)
	default:
		c.drain(endReload, err)
	}
	return false
}

func (c *core) renew() {
	if !c.renewing && c.now >= c.nextRen {
		c.renewing, c.nextRen = true, c.now+c.cfg.Lease/3
		c.do(actRenew{c.lease, c.now})
	}
}

// drain begins the end of a tenure. The first reason stands, unless a graver one comes.
func (c *core) drain(why ending, err error) {
	if err != nil {
		c.lastErr = err.Error()
	}
	switch {
	case c.phase == running:
		c.phase, c.end, c.endErr = draining, why, err
		if c.reading {
			c.do(actQuitRead{})
		}
		if c.awake != nil && c.awake.busy && c.awake.open {
			c.do(actQuitRange{})
		}
		if c.clean() {
			c.findGaps()
		}
	case c.phase == draining && (why >= endHalt || c.clean()):
		c.end, c.endErr = why, err
	}
}

// clean tells that a tenure ends with nothing confirmed behind the saved cursor, if the broker allows.
func (c *core) clean() bool { return c.end == endStop || c.end == endAsked }

// advanceDrain waits for everything under way, saves once more where that makes sense, and leaves.
// What is in flight ends soon, because no send outlives the send timeout.
func (c *core) advanceDrain() {
	if c.clean() {
		c.renew()
	}
	if c.fillGaps() || c.opening || c.renewing || c.reading || c.saving || c.loading || c.sending || c.inflight > 0 || c.awake != nil && c.awake.busy {
		return
	}
	if (c.clean() || c.end == endHalt) && c.opened && !c.finalSave {
		c.finalSave = true
		if c.save(true) {
			return
		}
	}
	if c.awake != nil && c.awake.open {
		c.do(actCloseRange{})
	}
	c.opened = false
	c.do(actClose{})
	switch c.end {
	case endStop, endHalt, endFatal:
		c.do(actRelease{c.lease})
		c.finish(c.endErr)
	case endReload:
		c.phase = standby
		c.fail(c.endErr)
	case endAsked:
		c.phase, c.nextTry = standby, c.now
	case endLost:
		c.phase, c.nextTry = standby, c.now+c.jitter(time.Second)
	}
	if c.phase == standby {
		c.advance()
	}
}

func (c *core) finish(err error) {
	c.phase = stopped
	c.do(actDone{err})
}

// fail schedules the next try to become the owner: source or store are in trouble.
func (c *core) fail(err error) {
	c.lastErr = err.Error()
	c.fails++
	c.nextTry = c.now + c.backoff(c.fails, 3*time.Second)
}

// backoff is full jitter below a limit that doubles from 10 ms up to most.
func (c *core) backoff(tries int, most time.Duration) time.Duration {
	return c.jitter(min(10*time.Millisecond<<max(0, min(tries, 20)), most))
}

func (c *core) jitter(below time.Duration) time.Duration {
	return time.Duration(c.rand.Int64N(int64(below)) + 1)
}

// deadline is the moment at which step wants to be called with evTick, if nothing happens before; 0 means never.
func (c *core) deadline() time.Duration {
	var at time.Duration
	soonest := func(t time.Duration) {
		if t > c.now && (at == 0 || t < at) {
			at = t
		}
	}
	switch c.phase {
	case standby:
		soonest(c.nextTry)
	case running:
		soonest(c.until)
		soonest(c.nextRen)
		if len(c.waiting) > 0 {
			soonest(c.waiting[0].until)
		}
		soonest(c.branchDue())
		if len(c.ready) > 0 && c.streak >= gateAfter {
			soonest(c.probeAt)
		}
		if c.dirty() && !c.saving {
			soonest(c.saveDue())
		}
	case draining:
		if c.clean() {
			soonest(c.nextRen)
			soonest(c.fillBy)
		}
	}
	return at
}

func (c *core) wait(l *lane, at time.Duration) {
	l.until = at
	heap.Push(&c.waiting, l)
}
