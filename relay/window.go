package relay

import (
	"errors"
	"slices"
	"time"
)

// entry is one message in memory: of the window, or loaded from the parked table.
type entry struct {
	msg   *Message
	batch *Batch
	n     int // batch.Position(n) lies just behind this entry
	row   *Parked
	lane  *lane // nil: no key
	err   error // of the last send
	state entryState
	gap   bool // to be sent although the relay is stopping
}

type entryState uint8

const (
	queued entryState = iota
	inFlight
	aside // to be parked by the next save
	finished
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

// read asks for more when a quarter of the window is free, so that reads come in pages and not in crumbs. One more quarter is
// kept for the moment at which one key pins the window: only messages behind it tell whether others get through.
func (c *core) read() {
	budget := Budget{Messages: c.page(), Bytes: max(c.cfg.WindowBytes-c.bytes, 1)}
	switch {
	case c.reading || c.full() && (c.probed || !c.pinned()):
		return
	case c.full():
		c.probed = true
		budget = Budget{Messages: min(c.page(), c.cfg.Window-len(c.win)), Bytes: max(c.cfg.WindowBytes/4, 1)}
	}
	c.reading = true
	c.do(actRead{budget})
}

func (c *core) page() int { return max(c.cfg.Window/4, 1) }

// full tells that nothing more is read, but for a probe.
func (c *core) full() bool {
	return c.cfg.Window-len(c.win) < min(2*c.page(), c.cfg.Window) || c.bytes > c.cfg.WindowBytes*3/4
}

// pinned tells whether the first message that is not done has failed for long, and there is room to see how others do.
func (c *core) pinned() bool {
	if c.done == len(c.win) || len(c.win) >= c.cfg.Window || c.broken == bugTemporaryPins {
		return false
	}
	l := c.win[c.done].lane
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
		c.probed = false
	}
	entries := make([]entry, len(batch.Messages))
	for i := range entries {
		m := &batch.Messages[i]
		if !c.wants(m.Topic) {
			c.skippedN++
			m.Payload, m.Headers = nil, nil // the batch lives on
			c.pass(batch, i+1)
			continue
		}
		e := &entries[i]
		e.msg, e.batch, e.n = m, batch, i+1
		c.win = append(c.win, e)
		c.bytes += sizeOf(e.msg)
		c.push(e)
	}
	c.lowWater()
}

// pass moves the position behind what this relay does not publish. It takes no room in the window, or an idle log and another
// relay's messages would fill it behind a message that fails.
func (c *core) pass(batch *Batch, n int) {
	if last := len(c.win) - 1; last >= c.savedTo {
		c.win[last].batch, c.win[last].n = batch, n
	} else {
		c.win = append(c.win, &entry{batch: batch, n: n, state: finished})
	}
}

func (c *core) lowWater() {
	for c.done < len(c.win) && c.win[c.done].state == finished {
		c.done++
		c.probed = false
	}
}

// The pace of saves: the cursor row bloats when it is written often while an old snapshot is held anywhere, so a save that
// takes long makes the next one wait longer. Only when the window is used up does nothing wait.
const (
	savePace     = 100 * time.Millisecond
	savePaceMost = time.Second
)

func (c *core) dirty() bool {
	return c.done > 0 || len(c.toSave.Park)+len(c.toSave.Retried)+len(c.toSave.Unpark)+len(c.toSave.Published) > 0
}

func (c *core) saveDue() time.Duration {
	if c.full() && c.done >= c.page() || len(c.win) >= (c.cfg.Window*3+3)/4 || c.bytes > c.cfg.WindowBytes/2 { // reading waits for it
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
	c.lowWater()
	if c.done > 0 {
		last := c.win[c.done-1]
		s.Position = last.batch.Position(last.n)
	}
	s.Durable = final
	c.savedTo, c.savedAt, c.saving = c.done, c.now, true
	c.do(actSave{c.lease, s})
	return true
}

func (c *core) onSaved(ev evSaved) {
	c.saving = false
	if !c.check(ev.err) {
		return
	}
	c.savePause = min(50*ev.took, savePaceMost)
	for _, e := range c.win[:c.savedTo] {
		if e.msg != nil {
			c.bytes -= sizeOf(e.msg)
		}
	}
	clear(c.win[:c.savedTo])
	c.win = c.win[c.savedTo:]
	c.done -= c.savedTo
	c.savedTo = 0
	for _, l := range c.unsaved {
		l.unsaved--
	}
	c.unsaved = nil
}

// findGaps prepares a clean stop, which leaves nothing confirmed behind the saved cursor: what stands in the window before the
// last message that was sent is sent too, or set aside where its lane already is, or fails alone.
func (c *core) findGaps() {
	last := len(c.win)
	for last > c.done && c.win[last-1].state == queued {
		last--
	}
	c.fillBy = c.now + c.cfg.Lease
	for _, e := range c.win[c.done:last] {
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
	c.ready = slices.DeleteFunc(c.ready, func(e *entry) bool { return !e.gap })
	c.dispatch()
	return len(c.ready) > 0
}
