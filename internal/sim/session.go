package sim

import (
	"context"
	"slices"
	"time"

	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/relay"
)

// session is the simulated snapshot.Session: what source/postgres does with SQL. Each statement is atomic, and between two
// of them the world goes on.
type session struct {
	*conn
	until *time.Duration // when the read under way must have ended
	task  *task          // that reads at the moment
	turn  turn           // for one statement of the reader, or one save
}

var _ snapshot.Session = (*session)(nil)

// reader gives out what comes next; snapshot.Reader is the right one.
type reader interface {
	Next(ctx context.Context, budget relay.Budget) (batch relay.Batch, moved bool, err error)
}

func (s *session) statement(at func()) error {
	s.turn.take(s.task)
	defer s.turn.give()
	c := call{conn: s.conn, deadline: s.until}
	if err := c.request(s.task); err != nil {
		return err
	}
	at()
	return c.response(s.task)
}

// Look implements snapshot.Session.
func (s *session) Look(_ context.Context, s0 snapshot.Snapshot, limit, bytes int) (look snapshot.Look, err error) {
	err = s.statement(func() {
		d := s.p.w.db
		look.S1, look.LSN = d.snapshot(), d.lsn
		var rows []*row // by the index on (xid, pos), first those at or above xmax
		for _, r := range d.rows {
			if r.visible() && r.tx.xid >= s0.Xmax {
				rows = append(rows, r)
			}
		}
		slices.SortStableFunc(rows, func(a, b *row) int { return int(a.tx.xid) - int(b.tx.xid) })
		for _, xid := range s0.Xip {
			for _, r := range d.rows {
				if r.visible() && r.tx.xid == xid {
					rows = append(rows, r)
				}
			}
		}
		rows = rows[:min(len(rows), limit+1)]
		slices.SortFunc(rows, func(a, b *row) int { return int(a.pos - b.pos) })
		look.Rows, look.Cut = s.take(rows, bytes)
		look.Flushed = d.flushed >= look.LSN || s.p.w.Broken == SentBeforeDurable
	})
	return look, err
}

// Bounds implements snapshot.Session.
func (s *session) Bounds(_ context.Context, s0, s1 snapshot.Snapshot) (ranges []snapshot.Range, err error) {
	err = s.statement(func() {
		each := map[uint64]int{} // the range of each transaction that s0 saw running; those that began later share one
		for _, r := range s.p.w.db.rows {
			if !r.visible() || !s1.Sees(r.tx.xid) || s0.Sees(r.tx.xid) {
				continue
			}
			whose := min(r.tx.xid, s0.Xmax)
			i, there := each[whose]
			if !there {
				i = len(ranges)
				each[whose] = i
				ranges = append(ranges, snapshot.Range{After: r.pos - 1})
			}
			ranges[i].To = r.pos
		}
		ranges = join(ranges)
	})
	return ranges, err
}

// join makes ranges that overlap one. They come in the order of their beginnings.
func join(ranges []snapshot.Range) (joined []snapshot.Range) {
	for _, r := range ranges {
		if n := len(joined) - 1; n >= 0 && r.After <= joined[n].To {
			joined[n].To = max(joined[n].To, r.To)
		} else {
			joined = append(joined, r)
		}
	}
	return joined
}

// Page implements snapshot.Session.
func (s *session) Page(_ context.Context, s0, s1 snapshot.Snapshot, part snapshot.Range, topic string, limit, bytes int) (page []relay.Message, cut bool, err error) {
	err = s.statement(func() {
		var rows []*row
		for _, r := range s.p.w.db.rows {
			if r.visible() && r.pos > part.After && r.pos <= part.To && s1.Sees(r.tx.xid) && !s0.Sees(r.tx.xid) &&
				(topic == "" || r.msg.Topic == topic) && len(rows) < limit {
				rows = append(rows, r)
			}
		}
		page, cut = s.take(rows, bytes)
	})
	return page, cut, err
}

// Flush implements snapshot.Session: it polls for about 2 ms, then commits an empty logical message.
func (s *session) Flush(_ context.Context, lsn uint64) error {
	w := s.p.w
	if w.Broken == SentBeforeDurable {
		return nil
	}
	for try := range 5 {
		var durable bool
		if err := s.statement(func() { durable = w.db.flushed >= lsn }); err != nil || durable {
			return err
		}
		if try < 4 {
			s.task.sleep(500 * time.Microsecond)
		}
	}
	var ok bool
	err := s.statement(func() {
		x := w.db.begin()
		x.number()
		ok = x.commit(s.task, true)
	})
	if err == nil && !ok {
		err = errBroken
	}
	return err
}

// take makes messages of rows until the bytes are used up.
func (s *session) take(rows []*row, bytes int) (list []relay.Message, cut bool) {
	if len(rows) == 0 {
		return nil, false
	}
	list = make([]relay.Message, 0, len(rows))
	for _, r := range rows {
		m := relay.Message{Message: r.msg.Message, Pos: r.pos, Incarnation: 1}
		if m.Payload == nil && s.p.w.Broken == TombstoneLost {
			m.Payload = []byte{}
		}
		list = append(list, m)
		if bytes -= len(m.ID) + len(m.Key) + len(m.Payload) + 40; bytes <= 0 {
			return list, true
		}
	}
	return list, false
}
