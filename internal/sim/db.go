package sim

import (
	"slices"
	"time"

	"github.com/waybillhq/waybill/internal/snapshot"
)

// db is a PostgreSQL in miniature: numbers of transactions and rows in the order in which they are asked for, snapshots,
// a log that is durable up to a point, and a crash that forgets the rest.
type db struct {
	w       *world
	up      bool
	life    int // grows with each crash
	nextXid uint64
	highest uint64 // of the xids that are over
	running []*tx  // those with an xid, by xid

	lsn, flushed uint64
	flushing     bool
	commits      []*tx // by the place of their commit record
	numbers      []numbered
	seq, seqTop  int64 // the last pos, and up to where the log has noted the sequence
	rows         []*row
	tables       tables
	leaseLock    lock
	cursorLock   lock
	keyLocks     []lock
	version      int      // grows with all that a snapshot could show
	watchers     []ticket // wake when it grows
	lostSaves    int      // that a crash undid
}

// numbered is what the log up to a place tells about the numbers that were given out.
type numbered struct {
	lsn uint64
	xid uint64
	seq int64
}

const firstXid = 731

func newDB(w *world) *db {
	return &db{w: w, up: true, nextXid: firstXid, highest: firstXid - 1, keyLocks: make([]lock, w.keys)}
}

func (d *db) takeXid() uint64 {
	d.nextXid++
	return d.nextXid - 1
}

// write appends a record to the log. Recovery learns from it that the xid was given out.
func (d *db) write(xid uint64) uint64 {
	d.lsn++
	last := numbered{}
	if n := len(d.numbers); n > 0 {
		last = d.numbers[n-1]
	}
	if xid > last.xid || d.seqTop > last.seq {
		d.numbers = append(d.numbers, numbered{d.lsn, max(xid, last.xid), d.seqTop})
	}
	return d.lsn
}

func (d *db) changed() {
	d.version++
	d.w.news++
	for _, k := range d.watchers {
		k.wake()
	}
	d.watchers = d.watchers[:0]
}

// flush makes the log durable up to lsn, together with all that is in it by now. It fails when the server crashes meanwhile.
func (d *db) flush(t *task, lsn uint64) bool {
	life := d.life
	if d.flushed < lsn {
		end := d.lsn
		t.sleep(d.w.between(d.w.fsync/2, d.w.fsync*2))
		if d.life == life {
			d.flushed = max(d.flushed, end)
		}
	}
	return d.life == life
}

// flushLater is the WAL writer, which rests while there is nothing to flush.
func (d *db) flushLater() {
	if d.flushing {
		return
	}
	d.flushing = true
	life := d.life
	d.w.after(d.w.between(d.w.walPause/4, d.w.walPause), func() {
		if d.life == life {
			d.flushing = false
			d.flushed = d.lsn
		}
	})
}

// snapshot is pg_current_snapshot() of a statement without an xid of its own.
func (d *db) snapshot() snapshot.Snapshot {
	s := snapshot.Snapshot{Xmin: d.highest + 1, Xmax: d.highest + 1}
	for _, x := range d.running {
		if x.xid < s.Xmax {
			s.Xmin = min(s.Xmin, x.xid)
			s.Xip = append(s.Xip, x.xid)
		}
	}
	return s
}

// crash ends the server at once and recovers what the durable part of the log holds.
func (d *db) crash(down time.Duration) {
	if d.w.chance(0.5) { // the operating system may have written more than anybody was told
		d.flushed += d.w.rand.Uint64N(d.lsn - d.flushed + 1)
	}
	d.w.log("database", "crashes, log lost from", int64(d.flushed)+1, "")
	d.life++
	d.up, d.flushing = false, false
	kept := 0
	for _, x := range d.commits {
		if x.lsn <= d.flushed {
			x.state = committed
			d.commits[kept] = x
			kept++
		} else {
			x.state = gone
			if x.save && x.visible {
				d.lostSaves++
			}
		}
	}
	d.commits, d.lsn = d.commits[:kept], d.flushed
	d.running = slices.DeleteFunc(d.running, func(x *tx) bool { return !x.recover() })
	d.tables = tables{}
	for _, x := range d.commits {
		if x.change != nil {
			x.change(&d.tables)
		}
	}
	d.rows = slices.DeleteFunc(d.rows, func(r *row) bool { return r.tx.state == gone || r.dead })
	known := numbered{xid: firstXid - 1}
	d.numbers = slices.DeleteFunc(d.numbers, func(n numbered) bool { return n.lsn > d.flushed })
	if n := len(d.numbers); n > 0 {
		known = d.numbers[n-1]
		known.xid = max(known.xid, firstXid-1)
	}
	d.nextXid, d.highest, d.seq, d.seqTop = known.xid+1, known.xid, known.seq, known.seq
	for _, l := range d.allLocks() {
		l.clear(d.life)
	}
	d.changed()
	d.w.after(down, func() { d.up = true })
}

func (d *db) allLocks() []*lock {
	list := []*lock{&d.leaseLock, &d.cursorLock}
	for i := range d.keyLocks {
		list = append(list, &d.keyLocks[i])
	}
	return list
}
