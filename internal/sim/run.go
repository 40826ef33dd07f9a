package sim

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"
)

// Runner runs schedules one after the other. It is not safe for concurrent use; several Runners are.
type Runner struct {
	newCore NewCore
	spare   *world // of the last schedule, for its tasks and its heap
}

// NewRunner returns a runner of this core.
func NewRunner(newCore NewCore) *Runner { return &Runner{newCore: newCore} }

// Close frees the runner's goroutines.
func (r *Runner) Close() {
	if r.spare != nil {
		for _, t := range r.spare.tasks {
			t.stop()
		}
	}
}

// Result is what came of a schedule.
type Result struct {
	Hash  uint64 // of all that happened
	Err   error  // the first broken promise
	Story string // the timeline, if it was asked for
}

// Run runs one schedule. tell asks for the story.
func (r *Runner) Run(p Plan, tell bool) (res Result) {
	w := &world{setup: draw(p), rand: rand.New(rand.NewPCG(p.Seed, 2)), newCore: r.newCore, branched: map[string]bool{}}
	w.keep = tell
	if r.spare != nil {
		w.tasks, w.idle, w.heap = r.spare.tasks, r.spare.idle, r.spare.heap
		for _, t := range w.tasks {
			t.w = w
		}
	}
	r.spare = nil
	defer func() {
		if crash := recover(); crash != nil {
			w.fail("panic: %v\n%s", crash, debug.Stack()) // the tasks are in an unknown state: the next schedule makes its own
		} else {
			w.clear()
			r.spare = w
		}
		res = Result{Hash: w.hash, Err: w.fault}
		if tell {
			res.Story = w.story()
		}
	}()
	w.live()
	return res
}

func (w *world) story() string {
	head := fmt.Sprintf("%s\nfaults: %v\n%d messages, %d keys, %d relays, window %d (%d bytes), lease %v, send timeout %v, policy %s, chaos %v\n",
		w.Repeat(), w.faults, w.messages, w.keys, w.relays, w.cfg.Window, w.cfg.WindowBytes, w.cfg.Lease, w.cfg.SendTimeout, w.cfg.OnRejected, w.chaos)
	return head + strings.Join(w.lines, "\n") + "\n"
}

// live is a schedule from its beginning to its end.
func (w *world) live() {
	w.db, w.broker, w.quota = newDB(w), &broker{w: w}, w.messages
	for i := range w.relays {
		s := &slot{name: fmt.Sprint("relay-", i+1)}
		w.slots = append(w.slots, s)
		w.after(w.between(0, w.chaos/4), func() { w.start(s) })
	}
	for range w.authors {
		w.writers++
		w.spawn(w.between(0, w.think), w.author)
	}
	w.unleash()
	w.run(w.chaos, func() bool { return false })
	w.heal()
	if !w.run(w.now+patience, w.flows) {
		w.stalled("a message that nothing holds up is not published")
		return
	}
	w.tell()
	if !w.run(w.now+patience, w.drained) {
		w.stalled("something is not published, or not behind the cursor, or not out of the parked table")
		return
	}
	w.quiet()
	w.check()
}

// quiet stops all processes; then a new one must find nothing to do.
func (w *world) quiet() {
	for _, s := range w.slots {
		if s.off = true; s.proc != nil && !s.proc.dead {
			s.proc.stop()
		}
	}
	stopped := func() bool {
		for _, s := range w.slots {
			if s.proc != nil && !s.proc.dead {
				return false
			}
		}
		return true
	}
	if !w.run(w.now+time.Minute, stopped) {
		w.fail("stall: a clean stop takes more than a minute")
	}
	w.run(w.now+w.cfg.Lease+time.Second, func() bool { return w.db.tables.lease.expires <= w.now }) // releases travel
	clean := w.clean
	w.start(w.slots[0])
	owner := w.slots[0].proc
	if !w.run(w.now+time.Minute, func() bool { return w.owner == owner }) {
		w.fail("stall: after a clean stop there is no new owner within a minute")
	}
	w.run(w.now+time.Second, func() bool { return false })
	if clean && owner.sends > 0 {
		w.fail("duplicates: after a clean stop a new owner sent %d messages again", owner.sends)
	}
}
