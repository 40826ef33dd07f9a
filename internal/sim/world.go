package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// world is one schedule. Everything happens in one goroutine at a time, in the order of the heap.
type world struct {
	*setup
	rand  *rand.Rand
	now   time.Duration
	heap  heap
	steps int
	tasks []*task // all there are, for this schedule and the next
	idle  []*task
	trace
	fault error // the first broken promise

	newCore NewCore
	db      *db
	broker  *broker
	slots   []*slot
	writers int // still at work
	quota   int // messages that they still publish
	healed  bool
	news    int // grows with what may end a part of the schedule

	owner     *proc           // of the newest tenure
	clean     bool            // it ended by a clean stop
	mayRepeat int             // copies that ends of tenures excuse, and beginnings of branches
	branched  map[string]bool // topics that the broker refused to a source that can branch: between them and others there is no order
}

func (w *world) push(e event) {
	e.tie = w.rand.Uint32()
	w.heap.push(e)
}

// after runs fn in d.
func (w *world) after(d time.Duration, fn func()) { w.push(event{at: w.now + d, fn: fn}) }

// maxSteps ends a schedule in which something runs in circles.
const maxSteps = 300_000

// run lets the world go on until done holds, and tells whether it came to that before the moment limit.
func (w *world) run(limit time.Duration, done func() bool) bool {
	for seen := -1; w.fault == nil; {
		if seen != w.news {
			if seen = w.news; done() {
				return true
			}
		}
		if len(w.heap) == 0 || w.heap[0].at > limit {
			w.now = max(w.now, limit)
			return false
		}
		if w.steps++; w.steps > maxSteps {
			w.fail("livelock: %d events and no end", w.steps)
			return false
		}
		e := w.heap.pop()
		w.now = e.at
		switch {
		case e.task != nil:
			if e.gen == e.task.gen {
				e.task.resume()
			}
		case e.proc != nil:
			e.proc.tick(e.at)
		default:
			e.fn()
		}
	}
	return false
}

func (w *world) fail(format string, args ...any) {
	if w.fault == nil {
		w.fault = fmt.Errorf(format, args...)
		w.log("checker", "BROKEN PROMISE", 0, w.fault.Error())
	}
}

func (w *world) chance(p float64) bool { return w.rand.Float64() < p }

func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rand.Int64N(int64(b-a)+1))
}
