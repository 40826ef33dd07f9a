package sim

import "slices"

type txState uint8

const (
	active txState = iota
	committing
	committed
	gone // rolled back, or lost with the tail of the log
)

// tx is a transaction on the server.
type tx struct {
	db       *db
	life     int
	xid      uint64
	top      uint64 // the highest of xid and those of savepoints
	inside   uint64 // the xid of the savepoint that is open
	state    txState
	lsn      uint64 // of the commit record
	rows     []*row
	change   func(*tables)
	save     bool
	visible  bool
	prepared bool // survives a crash
	locks    []*lock
}

// row is a row of the outbox.
type row struct {
	pos  int64
	msg  *message
	tx   *tx
	dead bool // a savepoint rolled back
}

func (r *row) visible() bool { return r.tx.state == committed && !r.dead }

func (d *db) begin() *tx { return &tx{db: d, life: d.life} }

func (x *tx) alive() bool { return x.state == active && x.life == x.db.life && x.db.up }

// number gives the transaction its xid, as its first write does.
func (x *tx) number() uint64 {
	if x.xid == 0 {
		x.xid = x.db.takeXid()
		x.top = x.xid
		x.db.running = append(x.db.running, x)
	}
	return x.xid
}

func (x *tx) insert(m *message) {
	x.number()
	d := x.db
	d.seq++
	if d.seq > d.seqTop {
		d.seqTop = d.seq + 32
	}
	r := &row{pos: d.seq, msg: m, tx: x}
	m.row = r
	d.write(max(x.xid, x.inside))
	d.rows = append(d.rows, r)
	x.rows = append(x.rows, r)
}

// savepoint returns what rollbackTo goes back to.
func (x *tx) savepoint() int {
	x.number()
	x.inside = x.db.takeXid()
	x.top = max(x.top, x.inside)
	return len(x.rows)
}

func (x *tx) rollbackTo(mark int) {
	for _, r := range x.rows[mark:] {
		r.dead = true
	}
	x.rows = x.rows[:mark]
	x.db.highest = max(x.db.highest, x.inside)
	x.inside = 0
}

// prepare is the first phase of a commit in two: it fails when the server crashes before that is durable.
func (x *tx) prepare(t *task) bool {
	if !x.db.flush(t, x.db.write(x.top)) {
		return false
	}
	x.prepared = true
	return true
}

// commit writes the commit record; a synchronous one waits until that is durable and only then shows the transaction to
// others. False means that the outcome is unknown to the client.
func (x *tx) commit(t *task, durable bool) bool {
	d := x.db
	if x.xid == 0 {
		x.abort()
		return true
	}
	x.lsn, x.state = d.write(x.top), committing
	d.commits = append(d.commits, x)
	if !durable {
		x.show()
		d.flushLater()
		return true
	}
	if !d.flush(t, x.lsn) {
		return false
	}
	x.show()
	return true
}

func (x *tx) show() {
	x.state, x.visible = committed, true
	if x.change != nil {
		x.change(&x.db.tables)
	}
	x.over()
}

// abort is harmless after a commit and after a crash.
func (x *tx) abort() {
	if x.state != active {
		return
	}
	x.state = gone
	if x.life == x.db.life {
		if x.xid != 0 {
			x.db.write(x.top)
		}
		x.over()
	}
}

func (x *tx) over() {
	d := x.db
	if i := slices.Index(d.running, x); i >= 0 {
		d.running = slices.Delete(d.running, i, i+1)
	}
	d.highest = max(d.highest, x.top)
	for _, l := range x.locks {
		l.release()
	}
	d.changed()
}

// recover tells whether the transaction, which ran when the server crashed, still does.
func (x *tx) recover() bool {
	switch {
	case x.state == committed:
		return false
	case x.prepared:
		x.state, x.life = active, x.db.life
		return true
	}
	x.state = gone
	return false
}

// lock is the lock of one row. Who waits gets it in turn.
type lock struct {
	holder *tx
	queue  []ticket
}

// lock waits for the row. It fails when the server crashes meanwhile.
func (x *tx) lock(t *task, l *lock) bool {
	for x.alive() && l.holder != nil && l.holder != x {
		l.queue = append(l.queue, t.ticket())
		t.wait(0)
	}
	if !x.alive() {
		return false
	}
	if l.holder != x {
		l.holder = x
		x.locks = append(x.locks, l)
	}
	return true
}

func (l *lock) release() {
	l.holder = nil
	if len(l.queue) > 0 {
		next := l.queue[0]
		l.queue = l.queue[1:]
		next.wake()
	}
}

// clear frees the lock after a crash, unless a prepared transaction has it.
func (l *lock) clear(life int) {
	if l.holder != nil && l.holder.life != life {
		l.holder = nil
	}
	for _, k := range l.queue {
		k.wake()
	}
	l.queue = nil
}
