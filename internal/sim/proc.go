package sim

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/waybillhq/waybill/relay"
)

// Core is the engine's core: each method is one event, and the core answers by calls to its Shell before it returns.
// now counts from the start of the process.
type Core interface {
	Tick(now time.Duration)
	Stop(now time.Duration)
	Acquired(now time.Duration, t relay.Tenure, err error)
	Opened(now time.Duration, err error)
	Renewed(now, asked time.Duration, err error)
	Read(now time.Duration, b relay.Batch, err error)
	RangeOpened(now time.Duration, err error)
	Range(now time.Duration, b relay.Batch, err error)
	Sent(now time.Duration)
	Confirmed(now time.Duration) // what the confirm of Send was told since the last time
	Saved(now, took time.Duration, err error)
	Held(now time.Duration, rows []relay.Parked, err error)
	Deadline() time.Duration // when it wants Tick; 0: never
}

// Shell does what the core asks for. No method calls back before it has returned.
type Shell interface {
	Acquire()
	Open(from relay.Position, epoch int64) // a sink that fences is told the epoch
	Renew(lease relay.Lease, asked time.Duration)
	Read(b relay.Budget)
	QuitRead()
	OpenRange(topic string, from, to relay.Position)
	ReadRange(b relay.Budget)
	CloseRange()
	Send(messages []*relay.Message, until time.Duration, confirm func(i int, err error))
	Save(lease relay.Lease, s relay.Save)
	Load(lease relay.Lease, lane string, limit int)
	CloseReader()
	Release(lease relay.Lease)
	Done(err error)
}

// NewCore makes a core. broken names the mistake to bring back, where it is one of the core's.
type NewCore func(cfg relay.Config, maxBatch int, rnd *rand.Rand, broken string, shell Shell) Core

// look is what was last read from one place.
type look struct {
	at    time.Duration
	blind bool // all messages were of the first key
}

// slot is a place where one relay process after another runs.
type slot struct {
	name     string
	runs     int
	proc     *proc
	cutUntil time.Duration // no way to the database before
	off      bool          // nobody starts it again
}

// proc is a relay process: the core and a shell in virtual time.
type proc struct {
	w     *world
	slot  *slot
	name  string // of the place
	owner string // of this life
	born  time.Duration
	core  Core
	dead  bool

	frozenUntil time.Duration
	thawing     []ticket
	todo        []func() // the actions before which it froze
	backlog     []func() // what came while it was frozen
	dieIn       int      // actions until it dies or freezes; 0: never
	freezeIn    int
	freezeFor   time.Duration

	session   *session
	reader    reader
	ranged    *ranged
	tenure    int64         // the epoch of the newest tenure
	epoch     int64         // that the sink was told
	news      ticket        // ends the wait of the read under way for news
	readUntil time.Duration // the read under way has ended by then
	seen      int           // the version of the database at the last look
	looks     [2]look       // of the reader and of a branch
	moved     time.Duration // when a position without messages was last reported

	rings    time.Duration // when the timer does; 0: never
	outcomes []outcome     // that the core does not know yet
	sends    int
	failing  int // messages that were tried and not stored so far
}

func (w *world) start(s *slot) {
	s.runs++
	p := &proc{w: w, slot: s, name: s.name, owner: s.name + "." + strconv.Itoa(s.runs), born: w.now, readUntil: never, seen: -1}
	s.proc = p
	cfg := w.cfg
	cfg.Owner = p.owner
	p.core = w.newCore(cfg, w.maxBatch, rand.New(rand.NewPCG(w.Seed, w.rand.Uint64())), string(w.Broken), p)
	w.log(p.name, "starts", int64(s.runs), "")
	p.happen(func() { p.core.Tick(p.clock()) })
}

func (p *proc) clock() time.Duration { return p.w.now - p.born }

func (p *proc) frozen() bool { return p.w.now < p.frozenUntil }

// awake waits while the process is frozen, and tells whether it lives.
func (p *proc) awake(t *task) bool {
	for p.frozen() && !p.dead {
		p.thawing = append(p.thawing, t.ticket())
		t.wait(0)
	}
	return !p.dead
}

// happen lets the core take an event, at once or when the process thaws.
func (p *proc) happen(ev func()) {
	switch {
	case p.dead:
	case p.frozen():
		p.backlog = append(p.backlog, ev)
	default:
		ev()
		p.arm()
	}
}

// arm sets the timer to what the core wants.
func (p *proc) arm() {
	at := time.Duration(0)
	if d := p.core.Deadline(); d > 0 && !p.dead {
		at = p.born + d
	}
	if at != p.rings {
		p.rings = at
		if at > 0 {
			p.w.push(event{at: max(at, p.w.now), proc: p})
		}
	}
}

func (p *proc) tick(at time.Duration) {
	if at == p.rings && !p.dead {
		p.rings = 0
		p.happen(func() { p.core.Tick(p.clock()) })
	}
}

// act does one action of the core, if the process does not die or freeze just before it.
func (p *proc) act(action func()) {
	if p.dead {
		return
	}
	if p.dieIn > 0 && !p.frozen() {
		if p.dieIn--; p.dieIn == 0 {
			p.die()
			return
		}
	}
	if p.freezeIn > 0 && !p.frozen() {
		if p.freezeIn--; p.freezeIn == 0 {
			p.freeze(p.freezeFor)
		}
	}
	if p.frozen() {
		p.todo = append(p.todo, action)
	} else {
		action()
	}
}

func (p *proc) die() {
	p.w.log(p.name, "dies", 0, "")
	p.end()
}

// end is the end of this life; the next one begins soon.
func (p *proc) end() {
	p.dead = true
	p.w.news++
	p.thaw()
	if s := p.slot; !s.off {
		p.w.after(p.w.between(0, p.w.cfg.Lease/2), func() {
			if !s.off {
				p.w.start(s)
			}
		})
	}
}

func (p *proc) freeze(d time.Duration) {
	p.w.log(p.name, "freezes, ms", int64(d/time.Millisecond), "")
	p.frozenUntil = p.w.now + d
	p.w.after(d, func() {
		if p.w.now >= p.frozenUntil {
			p.thaw()
		}
	})
}

// thaw lets what waited happen in its order, sometimes the timer first of all events.
func (p *proc) thaw() {
	p.frozenUntil = p.w.now
	for _, k := range p.thawing {
		k.wake()
	}
	p.thawing = nil
	todo, late := p.todo, p.backlog
	p.todo, p.backlog = nil, nil
	if p.dead || len(todo)+len(late) == 0 {
		return
	}
	p.w.log(p.name, "thaws", int64(len(todo)+len(late)), "")
	for _, action := range todo {
		action()
	}
	if p.w.chance(0.5) {
		p.happen(func() { p.core.Tick(p.clock()) })
	}
	for _, ev := range late {
		p.happen(ev)
	}
}

// async runs one call to source or store and hands its answer to the core.
func (p *proc) async(call func(t *task) func()) {
	p.w.spawn(p.w.between(0, 50*time.Microsecond), func(t *task) { p.happen(call(t)) })
}

// sent tells that the sink's Publish has returned.
func (p *proc) sent() { p.happen(func() { p.core.Sent(p.clock()) }) }

// outcome is what the sink was told about a message, or what it took from silence.
type outcome struct {
	m   *message
	err error
}

// signal hands the confirmations to the core that came within a moment.
func (p *proc) signal(m *message, err error) {
	p.outcomes = append(p.outcomes, outcome{m, err})
	if len(p.outcomes) > 1 {
		return
	}
	p.w.after(p.w.between(0, 20*time.Microsecond), func() {
		p.happen(func() {
			for _, o := range p.outcomes {
				p.settle(o.m, o.err)
			}
			p.outcomes = p.outcomes[:0]
			p.core.Confirmed(p.clock())
		})
	})
}
