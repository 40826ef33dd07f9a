package sim

import (
	"slices"
	"time"

	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/relay"
)

// checkCursor holds at every save: only the newest owner writes the cursor, and it moves only forwards. to is the position of s.
func (w *world) checkCursor(p *proc, lease relay.Lease, s relay.Save, to snapshot.Cursor) {
	row := &w.db.tables.cursor
	if lease.Epoch < row.epoch {
		w.fail("cursor: %s wrote it, whose epoch is %d below the newest owner's", p.owner, row.epoch-lease.Epoch)
	}
	if s.Position == "" || w.otherReader() {
		return
	}
	from := row.at
	if !to.S0.Covers(from.S0) || to.S0.Equal(from.S0) && from.Last > 0 && to.Last > 0 && to.Last < from.Last {
		w.fail("cursor: %s moved it back from %s to %s", p.owner, from, to)
	}
}

// checkParks holds at every save: an outage of all sets nothing aside (but where a relay stops in it), and only a rejection counts as an attempt.
func (w *world) checkParks(s relay.Save) {
	if len(s.Park) > 0 && w.broker.outages < 2 && !w.on(brokerRefuses|AckLost|LateWrite|SilentSink|RelayPause|RelayStop) {
		w.fail("parked: %s was set aside, and nothing was ever wrong but an outage", s.Park[0].ID)
	}
	for _, list := range [][]relay.Parked{s.Park, s.Retried} {
		for i := range list {
			if m := w.broker.find(&list[i].Message); list[i].Attempts > m.rejections {
				w.fail("attempts: %s was rejected %d times and counts %d", m.ID, m.rejections, list[i].Attempts)
			}
		}
	}
}

// succeed is called at each tenure: all that its predecessor had read and not saved may be published once more, unless that
// one ended by a clean stop.
func (w *world) succeed(p *proc) {
	if w.owner != nil && !w.clean {
		w.mayRepeat += w.cfg.Window + len(w.db.tables.parked)
		if len(w.db.tables.branches) > 0 {
			w.mayRepeat += w.cfg.Window
		}
	}
	w.owner, w.clean = p, false
	w.news++
}

// settle notes what the relay was told about a message. A clean stop owes nobody a copy, unless something failed that the
// relay could neither set aside nor wait for.
func (p *proc) settle(m *message, err error) {
	if err == nil {
		m.confirmed++
	}
	if m.failing == p {
		m.failing = nil
		p.failing--
	}
	if err != nil && !relay.IsRejected(err) && !relay.IsTopic(err) {
		m.failing = p
		p.failing++
	}
}

// flows tells whether all is published that the broker does not refuse, nor holds up behind what it refuses.
func (w *world) flows() bool {
	if w.writers > 0 {
		return false
	}
	blind := func(l look) bool { return l.blind && w.now > l.at+time.Minute }
	if o := w.owner; o != nil && w.now < w.broker.stuckUntil && slices.ContainsFunc(o.looks[:], blind) {
		return true // the window is full of the one key that does not get through: nothing tells that from an outage
	}
	blocked := make(map[string]bool)
	for _, m := range w.broker.messages {
		if !m.published() {
			continue
		}
		state := w.aside(m)
		if w.ranger && state == "" && relay.IsTopic(w.broker.refuses(m)) {
			continue // it waits as a branch, and nothing waits for it
		}
		switch {
		case w.broker.refuses(m) != nil && (m.copies == 0 || state == relay.StateHeld):
			blocked[m.Key] = true
		case m.copies == 0 && state != relay.StateParked && (m.Key == "" || !blocked[m.Key]):
			return false
		}
	}
	return true
}

// drained tells whether everything is published and behind the cursor, and nothing waits aside but for a person.
func (w *world) drained() bool {
	if w.writers > 0 {
		return false
	}
	for _, m := range w.broker.messages {
		if m.copies == 0 && m.published() && w.aside(m) != relay.StateParked {
			return false
		}
	}
	if len(w.db.tables.branches) > 0 || slices.ContainsFunc(w.db.tables.parked, func(p relay.Parked) bool { return p.State == relay.StateHeld }) {
		return false
	}
	if w.otherReader() {
		return true
	}
	cur := &w.db.tables.cursor.at
	return !slices.ContainsFunc(w.db.rows, func(r *row) bool { return r.visible() && !cur.S0.Sees(r.tx.xid) })
}

// aside is the state in which m waits in the parked table, if it does.
func (w *world) aside(m *message) string {
	if i, there := w.db.tables.find(m.row.pos); there {
		return w.db.tables.parked[i].State
	}
	return ""
}

// stalled says what kind of standstill it is: a message that the saved cursor has passed will never come.
func (w *world) stalled(what string) {
	if w.fault != nil {
		return
	}
	for _, m := range w.broker.messages {
		if m.published() && m.copies == 0 && w.aside(m) == "" && w.passed(m) {
			w.fail("lost: %s was committed and never reached the broker, and the cursor %q has passed it", m.ID, w.db.tables.cursor.position)
		}
	}
	for _, p := range w.db.tables.parked {
		w.log("checker", "finds aside", p.Pos, p.ID+" "+p.Lane+" "+p.State)
	}
	w.fail("stall: %s within %v", what, patience)
}

// passed tells whether the saved cursor lies behind m, whatever the reader.
func (w *world) passed(m *message) bool {
	at := w.db.tables.cursor.position
	if i, waits := w.db.tables.branch(m.Topic); waits {
		at = w.db.tables.branches[i].Position
	}
	r, err := (&session{conn: &conn{p: &proc{w: w}}}).newReader(at)
	if err != nil {
		return false
	}
	switch r := r.(type) {
	case *idReader:
		return r.last >= m.row.pos
	case *xidReader:
		return r.xid > m.row.tx.xid || r.xid == m.row.tx.xid && r.pos >= m.row.pos
	}
	cur, _ := snapshot.ParseCursor(string(at)) // the reader has read it
	return cur.S0.Sees(m.row.tx.xid) || cur.Last >= m.row.pos && cur.S1.Sees(m.row.tx.xid)
}

// checkOrder holds at the first copy of m: all of its key that were published before it have theirs. Messages are numbered in
// the order in which they were inserted, and the key's lock makes that the order of commits.
func (w *world) checkOrder(m *message) {
	for _, before := range w.broker.messages {
		if before == m {
			return
		}
		if before.Key != m.Key || before.copies > 0 || !before.published() {
			continue
		}
		if before.Topic != m.Topic && (w.branched[before.Topic] || w.branched[m.Topic]) {
			continue
		}
		if before.rejections > 0 && w.cfg.OnRejected == relay.Park {
			continue // the hole that parking leaves, and tells
		}
		w.fail("order: %s reached the broker before %s of the same key %q, which was published and committed first", m.ID, before.ID, m.Key)
	}
}

// check holds at the end.
func (w *world) check() {
	repeated, unknown := 0, 0
	for _, m := range w.broker.messages {
		unknown += m.copies - m.confirmed
		repeated += max(m.copies-1, 0)
		switch {
		case !m.published():
			if m.copies > 0 {
				w.fail("phantom: %s reached the broker, and its transaction never committed", m.ID)
			}
		case m.copies == 0:
			if w.aside(m) != relay.StateParked {
				w.fail("lost: %s was committed and never reached the broker", m.ID)
			}
		}
	}
	if most := unknown + w.mayRepeat + w.db.lostSaves*w.cfg.Window; repeated > most {
		w.fail("duplicates: %d copies too many, where unknown outcomes and lost owners excuse %d", repeated, most)
	}
}

// patience is how long a healed relay may take to drain: the longest back-off is five minutes.
const patience = 20 * time.Minute
