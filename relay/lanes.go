package relay

import (
	"container/heap"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// lane keeps the order of one key, across topics and reads: only the first message of its queue may be in flight, or where the
// sink orders a batch, the first ones, in one Publish.
// A message without a key gets a lane of its own when it fails.
type lane struct {
	name    string // the key; for a message without one NUL and its pos (a key has no NUL)
	queue   []*entry
	stage   laneStage
	rows    int // entries of queue that came from the parked table; they stand in front
	more    bool
	flying  int // so many of queue, from its front, are in flight
	takes   int // so many stored messages are loaded at once: one, until one of them has been published
	unsaved int // changes of its parked messages that are not saved yet
	tries   int // failures in a row
	asides  int // how often in a row it was set aside: an outage before that must not lengthen the wait
	failing time.Duration
	since   uint64        // how many messages had been published when it began to fail
	sent    time.Duration // when its first message was last given to the sink
	others  bool          // before that, while it failed, the broker had answered somebody since the time before
	until   time.Duration // when it wants to be woken, while in core.waiting
}

type laneStage uint8

const (
	laneFlowing   laneStage = iota
	laneHeld                // its messages go to the parked table, until the next try
	laneGathering           // its messages queue in memory while those in the parked table are loaded
	laneReleasing           // loaded messages stand in front of its queue
)

// laneName and stored translate between a lane's name in memory and in the parked table, where text has no NUL.
func laneName(stored string) string {
	if stored[0] == '#' {
		return "\x00" + stored[1:]
	}
	return stored[1:]
}

// loneName is the name of the lane that a message without a key gets when it fails.
func loneName(e *entry) string { return "\x00" + strconv.FormatInt(e.msg.Pos, 10) }

func (l *lane) stored() string {
	if l.name[0] == 0 {
		return "#" + l.name[1:]
	}
	return "=" + l.name
}

// push puts a message that was just read behind the others of its lane.
func (c *core) push(e *entry) {
	if e.msg.Key == "" || c.broken == bugTwoInFlight {
		if c.held > 0 && c.lanes[loneName(e)] != nil { // an earlier owner set it aside: the parked row stands for it
			e.state = finished
		} else {
			c.ready = append(c.ready, e)
		}
		return
	}
	l := c.lanes[e.msg.Key]
	if l == nil {
		l = &lane{name: e.msg.Key}
		c.lanes[l.name] = l
	}
	e.lane = l
	if l.stage == laneHeld {
		c.park(e, Parked{State: StateHeld})
		return
	}
	l.queue = append(l.queue, e)
	if len(l.queue) == 1 && l.stage != laneGathering {
		c.ready = append(c.ready, e)
	}
}

// gateAfter temporary failures without a confirmation between them mean an outage: from then on one message at a time is tried.
const gateAfter = 8

// dispatch gives what is ready to the sink, if the lease outlives the send.
func (c *core) dispatch() {
	limit := c.maxBatch
	if c.streak >= gateAfter {
		if c.inflight > 0 || c.now < c.probeAt {
			return
		}
		limit = 1
	}
	n := min(len(c.ready), limit)
	if n == 0 || c.sending || c.now+c.cfg.SendTimeout > c.until {
		return
	}
	entries := c.ready[:n:n]
	c.ready = c.ready[n:]
	share := (limit - n) / n // of the room that is left, for each lane
	for _, e := range entries[:n] {
		if l := e.lane; l != nil {
			l.others, l.sent = c.answered > max(l.sent, l.failing), c.now
			l.flying = 1
			if c.ordered {
				entries = append(entries, c.followers(l, share)...)
			}
		}
	}
	for _, e := range entries {
		e.state, e.err = inFlight, nil
		if c.broken == bugMarkBeforeConfirm {
			e.state = finished
		}
	}
	c.inflight += len(entries)
	c.sending = true
	if c.broken == bugMarkBeforeConfirm {
		c.lowWater()
	}
	c.do(actSend{entries, c.now + c.cfg.SendTimeout})
}

// followers are messages that may go with the first one of a lane in one Publish, at most so many: a run of its topic.
func (c *core) followers(l *lane, most int) []*entry {
	for _, e := range l.queue[1:min(len(l.queue), most+1)] {
		if e.state != queued || e.msg.Topic != l.queue[0].msg.Topic || l.more && e.row == nil || c.phase == draining && !e.gap {
			break
		}
		l.flying++
	}
	return l.queue[1:l.flying]
}

func (c *core) onConfirmed(e *entry, err error) {
	if e.state != inFlight && c.broken != bugMarkBeforeConfirm {
		return
	}
	c.inflight--
	if err == nil {
		c.onPublished(e)
	} else {
		e.state, e.err = queued, err
		c.lastErr = err.Error()
		c.retriedN++
		if errors.Is(err, ErrLost) { // the broker knows a newer owner
			c.drain(endLost, err)
		}
	}
	switch l := e.lane; {
	case l != nil:
		if l.flying--; l.flying == 0 {
			c.land(l)
		}
	case err != nil: // no key: from now on it waits in a lane of its own
		l = &lane{name: loneName(e), queue: []*entry{e}, sent: c.now}
		c.lanes[l.name], e.lane = l, l
		c.onFailed(l)
	}
}

// land looks at a lane when all of it that was in flight has its outcome.
func (c *core) land(l *lane) {
	for len(l.queue) > 0 && l.queue[0].state == finished {
		c.pop(l)
	}
	if len(l.queue) > 0 && l.queue[0].err != nil {
		c.onFailed(l)
	} else {
		c.next(l)
	}
}

// onFailed decides about a lane whose first message was not confirmed.
func (c *core) onFailed(l *lane) {
	e := l.queue[0]
	err := e.err
	l.tries++
	if l.failing == 0 {
		l.failing, l.since = c.now, c.publishedN
	}
	kind := classify(err)
	if kind != temporary {
		c.answered = c.now
	}
	switch kind {
	case rejected:
		c.onRejected(l, e, err)
	case topic:
		c.setAside(l, err, false)
	default:
		c.streak++
		c.probeAt = c.now + c.backoff(c.streak-gateAfter, 2*time.Second)
		stuck := c.now - l.failing
		if c.phase == draining && c.clean() {
			if c.alone(l) {
				c.setAside(l, err, false)
			} else {
				c.fillBy = 0
			}
		} else if l.others && (stuck >= c.cfg.StuckAfter || stuck >= c.cfg.SendTimeout && c.full()) {
			c.setAside(l, err, false)
		} else if l.stage == laneReleasing && c.crowded() && len(c.toLoad) > 0 { // others cannot show whether they get through
			c.setAside(l, err, false)
		} else if c.phase == running {
			c.wait(l, c.now+c.backoff(l.tries, 5*time.Second))
		}
	}
}

func (c *core) onPublished(e *entry) {
	e.state = finished
	if c.streak >= gateAfter { // the outage is over: nobody waits out a long back-off
		for _, l := range c.waiting {
			if l.stage == laneFlowing || l.stage == laneReleasing {
				l.until = c.now
			}
		}
		heap.Init(&c.waiting)
	}
	c.confirmed, c.answered, c.everSuccess, c.streak, c.lastErr = c.now, c.now, true, 0, ""
	c.publishedN++
	c.toSave.Published = append(c.toSave.Published, e.msg)
	if e.row != nil {
		c.toSave.Unpark = append(c.toSave.Unpark, *e.row)
		c.touch(e.lane)
	}
	if l := e.lane; l != nil {
		l.tries, l.asides, l.failing = 0, 0, 0
	}
	if len(c.win) > c.done && c.win[c.done] == e {
		c.lowWater()
	}
}

// pop takes the first message off a lane.
func (c *core) pop(l *lane) {
	if e := l.queue[0]; e.row != nil {
		l.rows--
		size := sizeOf(e.msg)
		c.loaded -= size
		l.takes = max(1, min(loadLimit, c.cfg.WindowBytes/4/size))
	}
	l.queue[0] = nil
	l.queue = l.queue[1:]
}

// next lets the first message of a lane go.
func (c *core) next(l *lane) {
	if l.stage == laneReleasing && l.rows == 0 {
		if l.more {
			c.gather(l)
			return
		}
		l.stage = laneFlowing
		c.held--
	}
	if len(l.queue) > 0 {
		c.ready = append(c.ready, l.queue[0])
	} else {
		delete(c.lanes, l.name)
	}
}

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
		case e.state == aside:
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
	if l.stage == laneFlowing {
		c.held++
	}
	l.queue, l.rows, l.stage, l.takes = nil, 0, laneHeld, 1
	if c.held > c.cfg.MaxHeld {
		c.drain(endHalt, fmt.Errorf("waybill: WB5005 relay %q stops: more than %d keys are set aside; the newest reason: %w. Try: repair the cause, then start the relay again: it goes on where it is, and nothing is lost",
			c.cfg.Name, c.cfg.MaxHeld, err))
		return
	}
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

// wakeLanes lets lanes go whose back-off is over.
func (c *core) wakeLanes() {
	for len(c.waiting) > 0 && c.waiting[0].until <= c.now {
		l := heap.Pop(&c.waiting).(*lane)
		if l.stage == laneHeld {
			c.gather(l)
		} else {
			c.ready = append(c.ready, l.queue[0])
		}
	}
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
			c.park(e, Parked{State: StateHeld})
		}
		l.queue = nil
	}
	front := make([]*entry, len(ev.rows), len(ev.rows)+len(l.queue))
	for i := range ev.rows {
		c.loaded += sizeOf(&ev.rows[i].Message)
		front[i] = &entry{msg: &ev.rows[i].Message, row: &ev.rows[i], lane: l}
	}
	l.queue, l.rows, l.stage = append(front, l.queue...), len(front), laneReleasing
	c.next(l)
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

// laneHeap orders lanes by the moment they wait for, then by name, so that a run can be repeated exactly.
type laneHeap []*lane

func (h laneHeap) Len() int { return len(h) }
func (h laneHeap) Less(i, j int) bool {
	return h[i].until < h[j].until || h[i].until == h[j].until && h[i].name < h[j].name
}
func (h laneHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *laneHeap) Push(x any)   { *h = append(*h, x.(*lane)) }
func (h *laneHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	*h = old[:len(old)-1]
	return l
}
