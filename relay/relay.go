package relay

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Relay moves one log to one sink. Make it with New, run it with Run.
type Relay struct {
	cfg    Config
	status atomic.Pointer[Status]
	waker  atomic.Pointer[Waker] // of the open reader
}

// New checks cfg and returns a relay that does nothing until Run.
func New(cfg Config) (*Relay, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Relay{cfg: cfg}
	r.status.Store(&Status{State: "stopped"})
	return r, nil
}

// Wake makes a polling source look for messages now. Call it after a commit, or give it to waybill.Config.Wake.
// It may be called from any goroutine, never blocks, and does nothing while the relay is not the owner.
func (r *Relay) Wake() {
	if w := r.waker.Load(); w != nil {
		(*w).Wake()
	}
}

// Status is a picture of a relay at one moment.
type Status struct {
	State       string    // "standby" (another process owns the relay), "running", "waiting" (the source does not answer), "stopping", "stopped"
	Owner       string    // who owns it, as far as this process knows
	Epoch       int64     // of this process's last tenure
	Published   uint64    // messages confirmed by the sink since Run, as all counts here
	Retried     uint64    // failures after which the message is sent again
	SetAside    uint64    // messages set aside to be tried again by themselves
	Parked      uint64    // messages set aside until a person decides
	Skipped     uint64    // messages of topics that are another relay's
	Window      int       // messages read and not yet behind the saved cursor
	InFlight    int       // messages given to the sink and not yet confirmed
	HeldLanes   int       // lanes set aside
	Branches    []string  // topics that wait, each with a cursor of its own
	LastError   string    // the newest error of source, store or sink; empty since the sink or the source answered well again
	LastSuccess time.Time // when the sink last confirmed a message
	Outage      bool      // the sink confirms nothing at the moment
}

// Status returns a picture of the relay. It may be called from any goroutine.
func (r *Relay) Status() Status { return *r.status.Load() }

// Run relays until ctx ends, then stops reading, waits for what is in flight, saves the cursor, gives the lease back and
// returns nil. It retries every outage for ever, and returns an error only when going on could break the promise.
// It may be called again after it returned, but not twice at once.
func (r *Relay) Run(ctx context.Context) error {
	maxBatch := 1000
	if m, ok := r.cfg.Sink.(MaxBatcher); ok {
		maxBatch = max(1, min(maxBatch, m.MaxBatch()))
	}
	s := &shell{
		relay:  r,
		cfg:    r.cfg,
		core:   newCore(r.cfg, maxBatch, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
		base:   context.WithoutCancel(ctx),
		start:  time.Now(),
		events: make(chan event, 16), // more than can be under way at once, so that no goroutine waits for the loop
		signal: make(chan struct{}, 1),
	}
	return s.loop(ctx)
}

// shell does what the core asks for and tells it what happened.
type shell struct {
	relay  *Relay
	cfg    Config
	core   *core
	base   context.Context
	start  time.Time
	events chan event
	signal chan struct{} // confirmations wait

	mu       sync.Mutex
	confirms []confirmation

	reader              Reader
	ranged              Reader // of the branch that is awake
	quitRead, quitRange context.CancelFunc

	result   error
	finished bool
	logged   logState
}

func (s *shell) now() time.Duration { return time.Since(s.start) }

func (s *shell) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	stop := ctx.Done()
	for {
		var ev event
		select {
		case ev = <-s.events:
		case <-s.signal:
			ev = evConfirmed{s.takeConfirms()}
		case <-timer.C:
			ev = evTick{}
		case <-stop:
			ev, stop = evStop{}, nil
		}
		for _, a := range s.core.step(s.now(), ev) {
			s.do(a)
		}
		s.show()
		if s.finished {
			return s.result
		}
		if at := s.core.deadline(); at > 0 {
			timer.Reset(at - s.now())
		}
	}
}

func (s *shell) takeConfirms() []confirmation {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.confirms
	s.confirms = make([]confirmation, 0, len(list))
	return list
}

// do starts one action. What may block runs in a goroutine and answers with an event; the core never has more than one
// of each kind under way.
func (s *shell) do(a action) {
	switch a := a.(type) {
	case actAcquire:
		s.async(func(ctx context.Context) event {
			t, err := s.cfg.Store.Acquire(ctx, Claim{Relay: s.cfg.Name, Owner: s.cfg.Owner, TTL: s.cfg.Lease, Topics: s.cfg.Topics})
			return evAcquired{t, err}
		})
	case actOpen:
		if f, ok := s.cfg.Sink.(Fencer); ok {
			f.Fence(a.epoch)
		}
		s.async(func(ctx context.Context) event {
			reader, err := s.cfg.Source.Open(ctx, a.from)
			if err == nil {
				s.reader = reader // read by the loop after evOpened only
				if w, ok := reader.(Waker); ok {
					s.relay.waker.Store(&w)
				}
			}
			return evOpened{err}
		})
	case actRenew:
		s.async(func(ctx context.Context) event {
			asked, err := s.cfg.Store.Renew(ctx, a.lease, s.cfg.Lease)
			return evRenewed{a.sent, asked, err}
		})
	case actRead:
		ctx, cancel := context.WithCancel(s.base)
		s.quitRead = cancel
		go func() {
			defer cancel()
			batch, err := s.reader.Read(ctx, a.budget)
			s.events <- evRead{batch, err}
		}()
	case actOpenRange:
		s.async(func(ctx context.Context) event {
			var err error
			s.ranged, err = s.cfg.Source.(Ranger).OpenRange(ctx, a.from, a.to, a.topic)
			return evRangeOpened{err}
		})
	case actReadRange:
		ctx, cancel := context.WithCancel(s.base) // a page of a topic that is rare may take long
		s.quitRange = cancel
		go func() {
			defer cancel()
			batch, err := s.ranged.Read(ctx, a.budget)
			s.events <- evRange{batch, err}
		}()
	case actQuitRange:
		s.quitRange()
	case actCloseRange:
		s.close(s.ranged)
	case actQuitRead:
		s.quitRead()
	case actSend:
		s.send(a)
	case actSave:
		began := time.Now()
		s.async(func(ctx context.Context) event {
			err := s.cfg.Store.Save(ctx, a.lease, a.save)
			return evSaved{time.Since(began), err}
		})
	case actLoad:
		s.async(func(ctx context.Context) event {
			rows, err := s.cfg.Store.Held(ctx, a.lease, a.lane, a.limit)
			return evHeld{rows, err}
		})
	case actClose:
		s.relay.waker.Store(nil)
		if s.reader != nil {
			s.close(s.reader)
			s.reader = nil
		}
	case actRelease:
		ctx, cancel := context.WithTimeout(s.base, s.cfg.Lease/3)
		defer cancel()
		if err := s.cfg.Store.Release(ctx, a.lease); err != nil {
			s.cfg.Logger.Warn("the lease could not be given back; it runs out by itself", "relay", s.cfg.Name, "error", err)
		}
	case actDone:
		s.result, s.finished = a.err, true
	}
}

func (s *shell) close(r Reader) {
	if err := r.Close(); err != nil {
		s.cfg.Logger.Debug("closing the reader", "relay", s.cfg.Name, "error", err)
	}
}

// async runs one call to source or store. None may last longer than a lease, so that a connection that died silently is noticed.
func (s *shell) async(call func(ctx context.Context) event) {
	go func() {
		ctx, cancel := context.WithTimeout(s.base, s.cfg.Lease)
		defer cancel()
		s.events <- call(ctx)
	}()
}
