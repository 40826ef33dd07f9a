package relay

import (
	"container/heap"
	"errors"
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
	topic   string        // the one that was refused, while the lane is held
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
		var lone *lane
		if c.lone > 0 {
			lone = c.lanes[loneName(e)]
		}
		switch {
		case lone == nil:
			c.ready = append(c.ready, e)
		case lone.stage == laneFlowing: // it failed, and is read again for a branch
			e.lane = lone
			lone.queue = append(lone.queue, e)
		default: // an earlier owner set it aside: the parked row stands for it
			e.state = finished
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
	c.weed()
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

// weed takes out of what is ready what a branch has taken over meanwhile.
func (c *core) weed() {
	if !c.weedy {
		return
	}
	c.weedy = false
	list := c.ready
	c.ready = nil
	for _, e := range list {
		if e.state == queued {
			c.ready = append(c.ready, e)
		} else if e.lane != nil {
			c.next(e.lane)
		}
	}
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
		if c.cfg.OnRejected != Park || !IsRejected(err) {
			c.retriedN++
		}
		if errors.Is(err, ErrLost) { // the broker knows a newer owner
			c.drain(endLost, err)
		}
	}
	if err != nil && e.of == &c.window && c.branch(e.msg.Topic) != nil { // it was under way when the branch began, which reads it again
		e.state = finished
		c.lowWater()
	}
	switch l := e.lane; {
	case l != nil:
		if l.flying--; l.flying == 0 {
			c.land(l)
		}
	case e.state == queued: // no key: from now on it waits in a lane of its own
		l = &lane{name: loneName(e), queue: []*entry{e}, sent: c.now}
		c.lone++
		c.lanes[l.name], e.lane = l, l
		c.onFailed(l)
	}
}

// land looks at a lane when all of it that was in flight has its outcome.
func (c *core) land(l *lane) {
	c.strip(l)
	if len(l.queue) == 0 || l.queue[0].err == nil {
		c.next(l)
		return
	}
	for _, e := range l.queue[1:] { // they failed behind the first
		if e.err == nil {
			break
		}
		e.err = nil
	}
	c.onFailed(l)
}

// onFailed decides about a lane whose first message was not confirmed.
func (c *core) onFailed(l *lane) {
	e := l.queue[0]
	err := e.err
	c.lastErr = err.Error()
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
		c.onNoTopic(l, e, err)
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
		} else if l.others && (stuck >= c.cfg.StuckAfter || stuck >= c.cfg.SendTimeout && (c.full() || c.awake != nil && c.awake.full())) {
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
	if w := e.of; w != nil {
		if c.awake != nil && w == &c.awake.window {
			c.awake.answers, c.awake.tries = true, 0
		}
		if len(w.win) > w.done && w.win[w.done] == e {
			w.lowWater()
		}
	}
}

// strip takes what is over from the front of a lane.
func (c *core) strip(l *lane) {
	for len(l.queue) > 0 && (l.queue[0].state == finished || l.queue[0].state == dropped) {
		c.pop(l)
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
	c.strip(l)
	if l.stage == laneReleasing && l.rows == 0 {
		if l.more {
			c.gather(l)
			return
		}
		c.unhold(l)
	}
	if len(l.queue) > 0 {
		c.ready = append(c.ready, l.queue[0])
	} else {
		delete(c.lanes, l.name)
		if l.name[0] == 0 {
			c.lone--
		}
	}
}

// wakeLanes lets lanes go whose back-off is over.
func (c *core) wakeLanes() {
	for len(c.waiting) > 0 && c.waiting[0].until <= c.now {
		l := heap.Pop(&c.waiting).(*lane)
		if l.stage == laneHeld {
			c.gather(l)
		} else {
			c.next(l)
		}
	}
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
