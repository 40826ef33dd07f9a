package sim

import (
	"errors"
	"iter"
	"time"
)

// task is code that waits in virtual time: a coroutine, so that a writer, a transaction or a read is written in the order in
// which it happens, and any other event of the world may come between two of its steps.
type task struct {
	w      *world
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	body   func(*task)
	gen    uint32 // of the wait; a wake-up of an earlier wait is void
	busy   bool
	killed bool
}

var errKilled = errors.New("the schedule is over")

// spawn starts body in d.
func (w *world) spawn(d time.Duration, body func(*task)) {
	var t *task
	if n := len(w.idle); n > 0 {
		t = w.idle[n-1]
		w.idle = w.idle[:n-1]
	} else {
		t = &task{w: w}
		t.next, t.stop = iter.Pull(t.loop)
		w.tasks = append(w.tasks, t)
	}
	t.body, t.busy = body, true
	t.gen++
	w.push(event{at: w.now + d, task: t, gen: t.gen})
}

// loop lives on after its body, to save the next task a goroutine.
func (t *task) loop(yield func(struct{}) bool) {
	t.yield = yield
	for {
		t.exec()
		t.busy, t.body = false, nil
		t.w.idle = append(t.w.idle, t)
		if !yield(struct{}{}) {
			return
		}
	}
}

func (t *task) exec() {
	defer func() {
		if r := recover(); r != nil && r != errKilled {
			panic(r)
		}
	}()
	if !t.killed {
		t.body(t)
	}
}

func (t *task) resume() { t.next() }

// wait gives the turn away until wake or, if d is above 0, until d has passed.
func (t *task) wait(d time.Duration) {
	t.gen++
	if d > 0 {
		t.w.push(event{at: t.w.now + d, task: t, gen: t.gen})
	}
	t.yield(struct{}{})
	if t.killed {
		panic(errKilled)
	}
}

// sleep lets d pass; 0 costs nothing.
func (t *task) sleep(d time.Duration) {
	if d > 0 {
		t.wait(d)
	}
}

// ticket ends one wait of a task, and does nothing once that is over.
type ticket struct {
	t   *task
	gen uint32
}

// ticket is for the wait that comes next.
func (t *task) ticket() ticket { return ticket{t, t.gen + 1} }

func (k ticket) wake() {
	if k.t != nil {
		k.t.w.push(event{at: k.t.w.now, task: k.t, gen: k.gen})
	}
}

// clear unwinds what still waits, so that the tasks can serve the next schedule.
func (w *world) clear() {
	for _, t := range w.tasks {
		if t.busy {
			t.killed = true
			t.resume()
			t.killed = false
		}
	}
	clear(w.heap)
	w.heap = w.heap[:0]
}

// turn is a mutex between tasks.
type turn struct {
	taken bool
	queue []ticket
}

func (u *turn) take(t *task) {
	for u.taken {
		u.queue = append(u.queue, t.ticket())
		t.wait(0)
	}
	u.taken = true
}

func (u *turn) give() {
	u.taken = false
	for _, k := range u.queue {
		k.wake()
	}
	u.queue = u.queue[:0]
}
