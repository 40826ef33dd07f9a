package sim

import (
	"strconv"
	"time"

	"github.com/waybillhq/waybill"
)

// message is one that a service tried to publish.
type message struct {
	waybill.Message
	row        *row          // nil until it is inserted
	refused    time.Duration // the broker rejects it before this moment
	rejections int
	copies     int
	confirmed  int // copies whose confirmation the relay got
	failing    *proc
}

// published tells whether its transaction committed, as far as the database knows now.
func (m *message) published() bool { return m.row != nil && m.row.visible() }

var filler = make([]byte, 512)

func (w *world) newMessage(key int) *message {
	b := w.broker
	m := &message{Message: waybill.Message{ID: "m" + strconv.Itoa(len(b.messages)+1), Topic: topicNames[w.rand.IntN(w.topics)], Type: "t"}}
	if key >= 0 {
		m.Key = keyNames[key]
	}
	if n := w.rand.IntN(len(filler)); n > 0 { // of nothing a tombstone
		m.Payload = filler[:n]
	}
	if w.chance(0.2) {
		m.Headers = headers
	}
	if w.on(Reject) && w.chance(0.1) {
		if m.refused = w.now + w.between(0, w.chaos); w.chance(0.3) {
			m.refused = never
		}
	}
	b.messages = append(b.messages, m)
	return m
}

var (
	headers    = []waybill.Header{{Name: "traceparent", Value: "00-1-2-01"}, {Name: "tenant", Value: "x"}}
	keyNames   = []string{"a", "b", "c", "d", "e"}
	topicNames = []string{"t0", "t1"}
)

// author is a service that publishes until the quota is used up.
func (w *world) author(t *task) {
	defer func() {
		w.writers--
		w.news++
	}()
	for w.quota > 0 {
		t.sleep(w.between(0, w.think*4))
		if !w.db.up {
			t.sleep(w.think + 10*time.Millisecond)
			continue
		}
		size := 1 + w.rand.IntN(3)
		if w.chance(0.05) {
			size += w.rand.IntN(12)
		}
		w.quota -= size
		w.transaction(t, size)
	}
}

// transaction publishes messages of a few keys. It locks a key's row before it publishes for that key, as a service does that
// changes the row: so the commits of one key have an order.
func (w *world) transaction(t *task, size int) {
	x := w.db.begin()
	defer x.abort()
	pause := func() bool {
		t.sleep(w.between(0, w.think))
		return x.alive()
	}
	long := w.on(LongTransaction) && !w.healed && w.chance(0.15)
	if w.on(EarlyXid) && w.chance(0.5) {
		if x.number(); !pause() {
			return
		}
	}
	keys := w.pickKeys()
	for _, k := range keys {
		if !x.lock(t, &w.db.keyLocks[k]) {
			return
		}
	}
	mark, inside := 0, false
	for range size {
		if w.on(Savepoint) && !inside && w.chance(0.3) {
			mark, inside = x.savepoint(), true
		}
		key := -1
		if !w.chance(w.keyless) {
			key = keys[w.rand.IntN(len(keys))]
		}
		x.insert(w.newMessage(key))
		if w.chance(0.5) && !pause() {
			return
		}
		if inside && w.chance(0.5) {
			if inside = false; w.chance(0.6) {
				x.rollbackTo(mark)
			}
		}
	}
	if long {
		for until := w.now + w.between(0, w.chaos); w.now < until && !w.healed; {
			t.sleep(50 * time.Millisecond)
		}
		if !x.alive() {
			return
		}
	}
	if w.on(Rollback) && w.chance(0.25) {
		w.log("writer", "rolls back, xid", int64(x.xid), "")
		return
	}
	if w.on(Prepare) && w.chance(0.2) {
		w.secondPhase(t, x)
		return
	}
	durable := !w.on(AsyncCommit) || w.chance(0.3)
	if x.commit(t, durable) {
		w.logCommit(x, durable)
	}
}

// secondPhase prepares the transaction and commits it some time later, also when the server crashes between.
func (w *world) secondPhase(t *task, x *tx) {
	if !x.prepare(t) {
		return
	}
	w.log("writer", "prepares, xid", int64(x.xid), "")
	for until := w.now + w.between(0, w.chaos/2); ; {
		t.sleep(max(until-w.now, 10*time.Millisecond))
		if x.state == committed { // the crash took the answer, not the commit
			return
		}
		if w.db.up && x.commit(t, true) {
			w.logCommit(x, true)
			return
		}
	}
}

func (w *world) logCommit(x *tx, durable bool) {
	what := "commits, xid"
	if !durable {
		what = "commits async, xid"
	}
	for _, r := range x.rows {
		w.log("writer", what, int64(x.xid), r.msg.ID+" "+r.msg.Key)
	}
}

// pickKeys draws one to three keys, in order, so that writers do not wait for each other in a circle.
func (w *world) pickKeys() []int {
	keys := make([]int, 0, 3)
	share := 1 / float64(w.keys)
	for k := range w.keys {
		if len(keys) < 3 && w.chance(share) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		keys = append(keys, w.rand.IntN(w.keys))
	}
	return keys
}
