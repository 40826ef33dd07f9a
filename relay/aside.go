package relay

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

func (c *core) onRejected(l *lane, e *entry, err error) {
	switch {
	case c.cfg.OnRejected == Stop:
		c.drain(endHalt, fmt.Errorf("waybill: WB5004 relay %q stops: the broker rejected message %q of topic %q (pos %d): %w. Try: correct the message or the broker, or set on_rejected: hold",
			c.cfg.Name, e.msg.ID, e.msg.Topic, e.msg.Pos, err))
	case c.cfg.OnRejected == Park && e.row == nil:
		c.asideErr = err.Error()
		c.park(e, Parked{State: StateParked, Attempts: 1, Error: shorten(err)})
		c.pop(l)
		c.next(l)
	default:
		c.setAside(l, err, true)
	}
}

// alone tells that l fails and that others got through meanwhile.
func (c *core) alone(l *lane) bool { return l.tries > 0 && c.publishedN > l.since }

// setAside moves a lane's messages to the parked table, where they wait in order for the next try, so that they do not
// keep the window from moving. attempt tells whether the first of them was refused, not only out of reach.
func (c *core) setAside(l *lane, err error, attempt bool) {
	c.asideErr = err.Error()
	count := 0
	if attempt {
		count = 1
	}
	for i, e := range l.queue {
		reason := ""
		if i == 0 {
			reason = shorten(err)
		}
		if e.row != nil {
			c.loaded -= sizeOf(e.msg)
		}
		switch {
		case e.state != queued:
		case e.row == nil:
			c.park(e, Parked{State: StateHeld, Attempts: count, Error: reason})
		case i == 0:
			e.row.Attempts += count
			e.row.Error = reason
			c.toSave.Retried = append(c.toSave.Retried, *e.row)
			c.touch(l)
		}
		count = 0
	}
	c.hold(l, l.queue[0].msg.Topic)
	l.queue, l.rows, l.stage, l.takes = nil, 0, laneHeld, 1
	if c.held > c.cfg.MaxHeld {
		c.drain(endHalt, fmt.Errorf("waybill: WB5005 relay %q stops: more than %d keys are set aside; the newest reason: %w. Try: repair the cause, then start the relay again: it goes on where it is, and nothing is lost",
			c.cfg.Name, c.cfg.MaxHeld, err))
		return
	}
	c.overfull(l.topic, err)
	l.asides++
	c.wait(l, c.now+c.backoff(l.asides+6, 5*time.Minute)) // from about a second on
}

func (c *core) park(e *entry, p Parked) {
	p.Message = *e.msg
	p.Lane = "#" + strconv.FormatInt(e.msg.Pos, 10)
	if e.lane != nil {
		p.Lane = e.lane.stored()
		c.touch(e.lane)
	}
	if p.State == StateParked {
		c.parkedN++
	} else {
		c.heldN++
	}
	e.state = aside
	c.toSave.Park = append(c.toSave.Park, p)
	c.parking = append(c.parking, e)
}

// touch notes that the next save changes something of l in the parked table.
func (c *core) touch(l *lane) {
	l.unsaved++
	c.touched = append(c.touched, l)
}

func (c *core) gather(l *lane) {
	l.stage = laneGathering
	c.toLoad = append(c.toLoad, l)
}

// loadLimit is how many parked messages of a lane are taken into memory at once.
const loadLimit = 100

// load asks for the parked messages of the first gathering lane, once the table shows all that became of them, and if
// there is room: they are no part of the window.
func (c *core) load() {
	if c.loading || len(c.toLoad) == 0 || c.toLoad[0].unsaved > 0 || c.crowded() {
		return
	}
	c.loading = true
	l := c.toLoad[0]
	l.takes = max(l.takes, 1)
	c.do(actLoad{c.lease, l.stored(), l.takes})
}

// crowded tells that the messages loaded from the parked table leave no room for more.
func (c *core) crowded() bool { return c.loaded > c.cfg.WindowBytes/4 }

func (c *core) onHeld(ev evHeld) {
	c.loading = false
	if c.phase != running || !c.check(ev.err) {
		return
	}
	l := c.toLoad[0]
	c.toLoad = c.toLoad[1:]
	l.more = len(ev.rows) == l.takes
	if l.more { // what came meanwhile belongs behind those that are still in the table
		for _, e := range l.queue {
			if e.state == queued {
				c.park(e, Parked{State: StateHeld})
			}
		}
		l.queue = nil
	}
	if len(ev.rows) > 0 {
		c.hold(l, ev.rows[0].Topic)
	}
	front := make([]*entry, len(ev.rows), len(ev.rows)+len(l.queue))
	for i := range ev.rows {
		c.loaded += sizeOf(&ev.rows[i].Message)
		front[i] = &entry{msg: &ev.rows[i].Message, row: &ev.rows[i], lane: l}
	}
	l.queue, l.rows, l.stage = append(front, l.queue...), len(front), laneReleasing
	c.next(l)
}

// hold counts a lane among those that are set aside, and why.
func (c *core) hold(l *lane, topic string) {
	if l.stage == laneFlowing {
		c.held++
	}
	if l.topic == "" {
		l.topic = topic
		c.heldOf[topic]++
	}
}

func (c *core) unhold(l *lane) {
	l.stage = laneFlowing
	c.held--
	if l.topic != "" {
		if c.heldOf[l.topic]--; c.heldOf[l.topic] == 0 {
			delete(c.heldOf, l.topic)
		}
		l.topic = ""
	}
}

// shorten keeps an error's text within what the parked table holds.
func shorten(err error) string {
	var c *classError
	if errors.As(err, &c) {
		err = c.err
	}
	text := err.Error()
	return text[:min(len(text), 512)]
}
