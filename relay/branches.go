package relay

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// branch is a topic that waits because the broker has no place for it. The relay passes its messages; one saved position tells
// where the topic goes on, whatever the count. From time to time a branch is awake: it reads, page by page, what lies between
// its position and the relay's, and when it has come to where the relay stands, it is over. One is awake at a time.
type branch struct {
	window
	topic string
	err   string
	tries int
	until time.Duration // asleep until then
	known bool          // its row is saved

	to      Position // where the range that is read ends
	open    bool
	busy    bool // a call to the range's reader is under way
	ended   bool // all of the range is read
	dozing  bool // to fall asleep once nothing is under way
	answers bool // one of its messages has been published: until then it reads one at a time
	count   int  // messages of the range
	woke    time.Duration
	head    *entry // the first message that has no place: the next try needs no reading
}

// mostHeld is how many keys of one topic may be set aside, by copy, before it becomes a branch. It goes on when half are left.
func (c *core) mostHeld() int { return min(1000, c.cfg.MaxHeld/2) }

// mayWake tells whether a branch may be awake: not while it would set aside more and more keys, by copy.
func (c *core) mayWake(b *branch) bool {
	return b.known && b.until <= c.now && c.heldOf[b.topic] <= c.mostHeld()/2 && c.held <= c.cfg.MaxHeld/2
}

func (c *core) startBranches(saved []Branch) {
	c.branches, c.branchNames, c.awake, c.merging, c.mergeBy = nil, nil, nil, false, 0
	if c.broken == bugBranchForgotten {
		return
	}
	for _, s := range saved {
		b := c.addBranch(s.Topic, s.Error)
		b.saved, b.known, b.until = s.Position, true, c.now+c.jitter(time.Second)
	}
}

func (c *core) findBranch(topic string) (int, bool) {
	return slices.BinarySearchFunc(c.branches, topic, func(b *branch, topic string) int { return strings.Compare(b.topic, topic) })
}

// branch returns the branch of a topic, nil if there is none.
func (c *core) branch(topic string) *branch {
	if i, found := c.findBranch(topic); found {
		return c.branches[i]
	}
	return nil
}

func (c *core) addBranch(topic, err string) *branch {
	b := &branch{topic: topic, err: err}
	i, _ := c.findBranch(topic)
	c.branches = slices.Insert(c.branches, i, b)
	c.branchNames = slices.Insert(slices.Clone(c.branchNames), i, topic)
	return b
}

// onNoTopic decides about a lane whose first message has no place at the broker.
func (c *core) onNoTopic(l *lane, e *entry, err error) {
	switch b := c.branch(e.msg.Topic); {
	case e.row != nil || !c.ranger:
		c.setAside(l, err, false)
		return
	case b == nil:
		c.branchOff(e.msg.Topic, err)
	default:
		c.doze(b, err)
	}
	l.tries, l.failing = 0, 0
	c.next(l)
}

// overfull makes a topic a branch of which too many keys are set aside.
func (c *core) overfull(topic string, err error) {
	if !c.ranger || topic == "" || c.heldOf[topic] <= c.mostHeld() {
		return
	}
	if b := c.branch(topic); b == nil {
		c.branchOff(topic, fmt.Errorf("more than %d keys are set aside: %w", c.mostHeld(), err))
	} else if b == c.awake && !b.dozing {
		c.doze(b, nil)
	}
}

// branchOff begins a branch where the relay's cursor could be saved now: never ahead of it, and before all of the topic that is
// not done. The save that writes its row may pass them.
func (c *core) branchOff(topic string, err error) {
	if len(c.branches) >= c.cfg.MaxHeld {
		c.drain(endHalt, fmt.Errorf("waybill: WB5007 relay %q stops: %d topics wait; the newest reason: %w. Try: create the topics or correct their names, then start the relay again: nothing is lost",
			c.cfg.Name, len(c.branches), err))
		return
	}
	b := c.addBranch(topic, shorten(err))
	b.saved = c.saved
	if at := c.done - 1; at >= 0 || c.broken == bugBranchTooFar {
		if c.broken == bugBranchTooFar {
			at = len(c.win) - 1
		}
		b.saved = c.win[at].batch.Position(c.win[at].n)
	}
	c.asideErr = err.Error()
	c.toSave.Merged = slices.DeleteFunc(c.toSave.Merged, func(merged string) bool { return merged == topic })
	c.toSave.Branches = append(c.toSave.Branches, Branch{topic, b.saved, b.err})
	c.drop(&c.window, topic, finished)
	c.sleep(b)
}

// largestHead bounds what a sleeping branch keeps in memory, in bytes.
const largestHead = 64 << 10

// drop takes back the messages of a topic that wait in a window.
func (c *core) drop(w *window, topic string, to entryState) {
	for _, e := range w.win {
		if e.state == queued && e.msg.Topic == topic {
			e.state = to
		}
	}
	c.weedy = true
	w.lowWater()
}

// doze sends a branch to sleep because its topic still has no place.
func (c *core) doze(b *branch, err error) {
	b.dozing = true
	b.head = nil
	c.merging, c.mergeBy = false, 0
	if err != nil {
		if first := b.win[b.done]; first.state == queued && sizeOf(first.msg) < largestHead {
			behind, msg := first.batch.Position(first.n), *first.msg // a copy: the page that it came with goes
			b.head = &entry{msg: &msg, batch: &Batch{Position: func(int) Position { return behind }}, of: &b.window}
		}
		b.err = shorten(err)
		c.asideErr = b.err
	}
	c.drop(&b.window, b.topic, dropped)
}

// sleep sets the moment of a branch's next try.
func (c *core) sleep(b *branch) {
	b.tries++
	b.until = c.now + c.backoff(b.tries+6, time.Minute) // from about a second on; a try is one message
}

// branchDue is the moment at which a branch wants to be tended; 0: none.
func (c *core) branchDue() (at time.Duration) {
	if b := c.awake; b != nil {
		if b.until > c.now {
			return b.until
		}
		return c.mergeBy
	}
	for _, b := range c.branches {
		if b.until > c.now && (at == 0 || b.until < at) {
			at = b.until
		}
	}
	return at
}

// tendBranches wakes the next branch or takes the one that is awake a step further.
func (c *core) tendBranches() {
	b := c.awake
	if b == nil {
		for _, next := range c.branches {
			if c.mayWake(next) && (b == nil || next.until < b.until) {
				b = next
			}
		}
		if b == nil {
			return
		}
		c.awake, b.woke = b, c.now
		b.window = window{limit: max(c.cfg.Window/2, min(c.cfg.Window, 4)), limitBytes: max(c.cfg.WindowBytes/4, 1), saved: b.saved}
		b.to, b.answers, b.dozing, b.ended, b.count = b.saved, false, false, false, b.page()
		if e := b.head; e != nil {
			b.to = e.batch.Position(e.n)
			b.win, b.bytes = []*entry{e}, sizeOf(e.msg)
			c.push(e)
		}
	}
	if c.mergeBy > 0 && c.now >= c.mergeBy { // a message that fails pins the cursor: others wait no longer
		c.doze(b, nil)
	}
	switch { // the order is the order of precedence
	case b.busy:
	case b.open && !b.ended && !b.dozing:
		if budget, ok := c.room(&b.window); ok && (b.answers || len(b.win) == 0 || c.pinned(&b.window)) {
			if !b.answers {
				budget.Messages = 1
			}
			b.busy = true
			c.do(actReadRange{budget})
		}
	case c.saving:
	case b.dozing:
		c.drop(&b.window, b.topic, dropped) // what was under way
		if !slices.ContainsFunc(b.win, func(e *entry) bool { return e.state == inFlight || e.state == aside }) && b.done == 0 {
			c.endRange(b)
			b.window = window{saved: b.saved}
			c.sleep(b)
			c.tendNext()
		}
	case !b.open && !b.answers && len(b.win) > 0 && !c.pinned(&b.window): // the head is tried
	case len(b.win) == 0 && len(c.win) == 0 && (b.saved == c.saved || c.broken == bugMergedEarly):
		c.merge(b)
	case c.merging && len(c.win) > 0: // the relay's cursor comes to rest first
	case c.now < b.until || b.to == c.readTo(): // ranges are opened at a pace, and there must be something in them
	case !c.merging && b.count < b.page() && !failing(&b.window) && !failing(&c.window):
		c.merging, c.mergeBy = true, c.now+c.cfg.SendTimeout // it is close behind: the relay reads no more until it is there
		c.tendBranches()
	case c.now-b.woke > time.Minute && slices.ContainsFunc(c.branches, func(other *branch) bool { return other != b && c.mayWake(other) }):
		c.doze(b, nil) // it is the others' turn
		c.tendBranches()
	default:
		c.endRange(b)
		from := b.to
		b.to, b.busy, b.ended, b.count, b.until = c.readTo(), true, false, 0, c.now+savePace
		c.do(actOpenRange{b.topic, from, b.to})
	}
}

// failing tells whether a message that fails keeps a window from moving.
func failing(w *window) bool {
	return w.done < len(w.win) && w.win[w.done].lane != nil && w.win[w.done].lane.failing > 0
}

// merge ends a branch that has come to where the relay's cursor stands, when nothing is read beyond that.
func (c *core) merge(b *branch) {
	c.endRange(b)
	i, _ := c.findBranch(b.topic)
	c.branches = slices.Delete(c.branches, i, i+1)
	c.branchNames = slices.Delete(slices.Clone(c.branchNames), i, i+1)
	c.toSave.Branches = slices.DeleteFunc(c.toSave.Branches, func(s Branch) bool { return s.Topic == b.topic })
	c.toSave.Merged = append(c.toSave.Merged, b.topic)
	c.tendNext()
}

func (c *core) tendNext() {
	c.awake, c.merging, c.mergeBy = nil, false, 0
	c.tendBranches()
}

func (c *core) endRange(b *branch) {
	if b.open {
		b.open = false
		c.do(actCloseRange{})
	}
}

func (c *core) onRangeOpened(ev evRangeOpened) {
	b := c.awake
	b.busy = false
	if errors.Is(ev.err, ErrNotYet) {
		c.doze(b, nil)
	} else {
		b.open = c.check(ev.err)
	}
}

func (c *core) onRange(ev evRange) {
	b := c.awake
	b.busy = false
	switch {
	case errors.Is(ev.err, io.EOF):
		b.ended = true
		to := b.to
		b.pass(&Batch{Position: func(int) Position { return to }}, 0)
		b.lowWater()
	case c.phase == running && c.check(ev.err) && !b.dozing:
		b.count += len(ev.batch.Messages)
		c.take(&b.window, &ev.batch, func(string) bool { return true })
	}
}

// crammed tells that a branch waits for a save.
func (c *core) crammed() bool {
	b := c.awake
	return b != nil && b.done > 0 && (b.ended || b.dozing || b.full() && b.done >= b.page())
}

// saveBranches adds to a save what is new of branches.
func (c *core) saveBranches(s *Save) {
	if b := c.awake; b != nil {
		if p := b.progress(); p != "" {
			s.Branches = append(s.Branches, Branch{b.topic, p, b.err})
		}
	}
	c.written = s.Branches
}

func (c *core) branchesSaved() {
	for _, s := range c.written {
		if b := c.branch(s.Topic); b != nil {
			b.known = true
		}
	}
	c.written = nil
	if c.awake != nil {
		c.awake.trim()
	}
}
