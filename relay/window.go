package relay

import (
	"errors"
	"slices"
	"time"
)

// window is everything read from one place of the log and not yet behind the position that is saved for it.
type window struct {
	limit      int // messages in it
	limitBytes int

	win     []*entry // in log order
	done    int      // so many of win, from its front, are done
	savedTo int      // so many of win are behind the position of the save under way
	bytes   int
	saved   Position // everything up to here is done for good
	saving  Position // the same once the save under way is
}

// entry is one message in memory: of the window, or loaded from the parked table.
type entry struct {
	msg   *Message
	batch *Batch
	n     int // batch.Position(n) lies just behind this entry
	row   *Parked
	of    *window // nil: of the parked table
	lane  *lane   // nil: no key
	err   error   // of the last send
	state entryState
	gap   bool // to be sent although the relay is stopping
}

type entryState uint8

const (
	queued entryState = iota
	inFlight
	aside // to be parked by the next save
	finished
	dropped // read again later
)

// overhead is what a message costs in memory besides its bytes, roughly.
const overhead = 256

func sizeOf(m *Message) int {
	n := overhead + len(m.ID) + len(m.Topic) + len(m.Key) + len(m.Type) + len(m.Payload)
	for _, h := range m.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return n
}

// read asks for more.
func (c *core) read() {
	if c.reading || c.merging {
		return
	}
	if budget, ok := c.room(&c.window); ok {
		c.reading = true
		c.do(actRead{budget})
	}
}

// room tells how much more to read: when a quarter of the window is free, so that reads come in pages and not in crumbs. One
// more quarter is kept for the moment at which one key pins the window: only messages behind it tell whether others get through.
func (c *core) room(w *window) (budget Budget, ok bool) {
	switch {
	case !w.full():
		return Budget{Messages: w.page(), Bytes: max(w.limitBytes-w.bytes, 1)}, true
	case c.pinned(w):
		return Budget{Messages: min(w.page(), w.limit-len(w.win)), Bytes: max(w.limitBytes/4, 1)}, true
	}
	return Budget{}, false
}

func (w *window) page() int { return max(w.limit/4, 1) }

// full tells that nothing more is read, but for a probe.
func (w *window) full() bool {
	return w.limit-len(w.win) < min(2*w.page(), w.limit) || w.bytes > w.limitBytes*3/4
}

// pinned tells whether the first message that is not done has failed for long, and there is room to see how others do.
func (c *core) pinned(w *window) bool {
	if w.done == len(w.win) || len(w.win) >= w.limit || c.broken == bugTemporaryPins {
		return false
	}
	l := w.win[w.done].lane
	return l != nil && l.failing > 0 && c.now-l.failing >= c.cfg.SendTimeout
}

func (c *core) onRead(ev evRead) {
	c.reading = false
	if c.phase != running || !c.check(ev.err) {
		return
	}
	batch := &ev.batch
	if len(batch.Messages) == 0 { // only the position moved
		c.pass(batch, 0)
		c.lowWater()
		return
	}
	c.take(&c.window, batch, func(topic string) bool {
		if !c.wants(topic) {
			c.skippedN++
			return false
		}
		return c.branch(topic) == nil
	})
}

// take puts the messages of wanted topics into a window and into their lanes.
func (c *core) take(w *window, batch *Batch, wants func(topic string) bool) {
	entries := make([]entry, len(batch.Messages))
	for i := range entries {
		m := &batch.Messages[i]
		if !wants(m.Topic) {
			m.Payload, m.Headers = nil, nil // the batch lives on
			w.pass(batch, i+1)
			continue
		}
		e := &entries[i]
		e.msg, e.batch, e.n, e.of = m, batch, i+1, w
		w.win = append(w.win, e)
		w.bytes += sizeOf(e.msg)
		c.push(e)
	}
	w.lowWater()
}

// pass moves the position behind what is not published from here. It takes no room in the window, or an idle log and another
// relay's messages would fill it behind a message that fails.
func (w *window) pass(batch *Batch, n int) {
	if last := len(w.win) - 1; last >= w.savedTo {
		w.win[last].batch, w.win[last].n = batch, n
	} else {
		w.win = append(w.win, &entry{batch: batch, n: n, state: finished})
	}
}

func (w *window) lowWater() {
	for w.done < len(w.win) && w.win[w.done].state == finished {
		w.done++
	}
}

// progress returns the position to save, empty when there is no news.
func (w *window) progress() Position {
	w.lowWater()
	w.savedTo, w.saving = w.done, ""
	if w.done > 0 {
		last := w.win[w.done-1]
		w.saving = last.batch.Position(last.n)
	}
	return w.saving
}

// readTo is the position behind everything in the window.
func (w *window) readTo() Position {
	if n := len(w.win) - 1; n >= 0 {
		return w.win[n].batch.Position(w.win[n].n)
	}
	return w.saved
}

// trim lets go of what is behind the position that was saved.
func (w *window) trim() {
	if w.saving != "" {
		w.saved = w.saving
	}
	for _, e := range w.win[:w.savedTo] {
		if e.msg != nil {
			w.bytes -= sizeOf(e.msg)
		}
	}
	clear(w.win[:w.savedTo])
	w.win = w.win[w.savedTo:]
	w.done -= w.savedTo
	w.savedTo = 0
}

// The pace of saves: the cursor row bloats when it is written often while an old snapshot is held anywhere, so a save that
// takes long makes the next one wait longer. Only when the window is used up does nothing wait.
const (
	savePace     = 100 * time.Millisecond
	savePaceMost = time.Second
)

func (c *core) dirty() bool {
	s := &c.toSave
	return c.done > 0 || c.awake != nil && c.awake.done > 0 || len(s.Park)+len(s.Retried)+len(s.Unpark)+len(s.Published)+len(s.Branches)+len(s.Merged) > 0
}

func (c *core) saveDue() time.Duration {
	if c.merging || c.crammed() || c.full() && c.done >= c.page() || len(c.win) >= (c.limit*3+3)/4 || c.bytes > c.limitBytes/2 { // reading waits for it
		return c.savedAt
	}
	return c.savedAt + max(c.savePause, savePace)
}

// save asks for a save when there is something to save and it is due, and tells whether it did.
func (c *core) save(final bool) bool {
	if c.saving || !c.dirty() || !final && c.now < c.saveDue() {
		return false
	}
	s := c.toSave
	for _, e := range c.parking { // the save that parks a message may also pass it
		if c.broken != bugHoldPinsWindow {
			e.state = finished
		}
	}
	c.toSave, c.parking = Save{}, nil
	c.unsaved, c.touched = c.touched, nil
	s.Position = c.progress()
	c.saveBranches(&s)
	s.Durable = final
	c.savedAt, c.saving = c.now, true
	c.do(actSave{c.lease, s})
	return true
}

func (c *core) onSaved(ev evSaved) {
	c.saving = false
	if !c.check(ev.err) {
		return
	}
	c.savePause = min(50*ev.took, savePaceMost)
	c.trim()
	c.branchesSaved()
	for _, l := range c.unsaved {
		l.unsaved--
	}
	c.unsaved = nil
}

// findGaps prepares a clean stop, which leaves nothing confirmed behind the saved cursor: what stands in the window before the
// last message that was sent is sent too, or set aside where its lane already is, or fails alone.
func (c *core) findGaps() {
	c.fillBy = c.now + c.cfg.Lease
	c.findGapsOf(&c.window)
	if c.awake != nil {
		c.findGapsOf(&c.awake.window)
	}
}

func (c *core) findGapsOf(w *window) {
	last := len(w.win)
	for c.awake == nil && last > w.done && w.win[last-1].state == queued { // lanes go across two windows: then all is sent
		last--
	}
	for _, e := range w.win[w.done:last] {
		switch l := e.lane; {
		case e.state != queued:
		case l != nil && c.alone(l) && l.queue[0].state == queued:
			c.setAside(l, errors.New(c.lastErr), false)
		case l != nil && (l.stage == laneGathering || l.stage == laneReleasing):
			c.park(e, Parked{State: StateHeld})
		default:
			e.gap = true
		}
	}
}

// fillGaps sends what findGaps found and tells whether some of it is still to be sent. An outage ends it, and so does one
// lease: then the next owner repeats what was confirmed behind the gap.
func (c *core) fillGaps() bool {
	if !c.clean() || c.now >= c.fillBy {
		return false
	}
	c.weed()
	c.ready = slices.DeleteFunc(c.ready, func(e *entry) bool { return !e.gap })
	c.dispatch()
	return len(c.ready) > 0
}
