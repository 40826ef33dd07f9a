package snapshot

import (
	"context"
	"fmt"
	"math"

	"github.com/waybillhq/waybill/relay"
)

// Session is one unbroken session of the primary. Every method fails once the session is not the one it was: a crash of
// the server gives the xids of unflushed transactions to new ones, and only an unbroken session proves that none came between.
type Session interface {
	// Look takes a snapshot S1 and, in the same statement, at most limit+1 rows visible in it and not in s0, by pos.
	// More than limit means that the span is bigger and the rows are any of it. The statement has no xid of its own:
	// one's own xid counts as visible.
	Look(ctx context.Context, s0 Snapshot, limit, bytes int) (Look, error)
	// Bounds returns, by index and in log order, ranges of pos that hold all rows of the span s0..s1.
	Bounds(ctx context.Context, s0, s1 Snapshot) ([]Range, error)
	// Page returns the rows of the span s0..s1 within r, of one topic or (empty) of all, by pos, at most limit. cut tells that
	// it stopped at bytes.
	Page(ctx context.Context, s0, s1 Snapshot, r Range, topic string, limit, bytes int) (rows []relay.Message, cut bool, err error)
	// Flush returns once the server's log is durable up to lsn.
	Flush(ctx context.Context, lsn uint64) error
}

// Range is the rows with After < pos <= To.
type Range struct{ After, To int64 }

// Look is what Session.Look saw.
type Look struct {
	S1   Snapshot
	LSN  uint64 // an end of the log taken after S1: when it is durable, all that S1 sees is
	Rows []relay.Message
	Cut  bool // stopped at bytes
	// Flushed tells that the log is known to be durable up to LSN already.
	Flushed bool
}

// Reader reads span after span. It is not safe for concurrent use.
type Reader struct {
	session Session
	cur     Cursor
	span    *walk // cur.S0..cur.S1 is being read page by page; nil: it is not
	started bool  // S1 covered S0 once
	size    size
}

// NewReader returns a reader that goes on behind from.
func NewReader(s Session, from Cursor) *Reader {
	r := &Reader{session: s, cur: from}
	if from.Last > 0 {
		r.enter()
	}
	return r
}

// enter begins to read the span of the cursor page by page.
func (r *Reader) enter() {
	r.span = &walk{s0: r.cur.S0, s1: r.cur.S1, within: Range{r.cur.Last, math.MaxInt64}}
}

// Cursor is the position behind all that the reader returned.
func (r *Reader) Cursor() Cursor { return r.cur }

// Next returns what comes next. An empty batch means that there is nothing at the moment; moved tells whether the position
// changed all the same.
func (r *Reader) Next(ctx context.Context, budget relay.Budget) (batch relay.Batch, moved bool, err error) {
	budget = r.size.fit(budget)
	if r.span != nil {
		return r.page(ctx, budget)
	}
	look, err := r.session.Look(ctx, r.cur.S0, budget.Messages, budget.Bytes)
	if err != nil {
		return relay.Batch{}, false, err
	}
	if !look.S1.Covers(r.cur.S0) {
		return relay.Batch{}, false, r.uncovered(look.S1)
	}
	r.started = true
	if len(look.Rows) == 0 {
		moved = !look.S1.Equal(r.cur.S0)
		r.cur = Cursor{S0: look.S1}
		return r.batch(nil, r.cur), moved, nil
	}
	if !look.Flushed {
		if err := r.session.Flush(ctx, look.LSN); err != nil {
			return relay.Batch{}, false, err
		}
	}
	r.cur.S1 = look.S1
	if look.Cut || len(look.Rows) > budget.Messages { // the rows are any of the span: read it from its beginning
		r.enter()
		return r.page(ctx, budget)
	}
	done := Cursor{S0: look.S1}
	batch = r.batch(look.Rows, done)
	r.cur = done
	return batch, true, nil
}

// page reads on in a big span.
func (r *Reader) page(ctx context.Context, budget relay.Budget) (batch relay.Batch, moved bool, err error) {
	rows, last, err := r.span.page(ctx, r.session, budget)
	if err != nil {
		return relay.Batch{}, false, err
	}
	end := r.cur
	if last {
		end, r.span = Cursor{S0: r.cur.S1}, nil
	} else {
		end.Last = rows[len(rows)-1].Pos
	}
	batch = r.batch(rows, end)
	r.cur = end
	return batch, true, nil
}

// batch makes positions on demand: their text is needed once a save, not once a message.
func (r *Reader) batch(rows []relay.Message, end Cursor) relay.Batch {
	r.size.saw(rows)
	span := r.cur
	return relay.Batch{Messages: rows, Position: func(n int) relay.Position {
		at := end
		if n < len(rows) {
			at = Cursor{S0: span.S0, Last: rows[n-1].Pos, S1: span.S1}
		}
		return relay.Position(at.String())
	}}
}

// uncovered reports a snapshot that does not see all that the cursor saw. The first look of a session already follows a
// reload of the cursor, so there the server itself has gone back.
func (r *Reader) uncovered(s1 Snapshot) error {
	err := fmt.Errorf("waybill: WB1021 the server's snapshot %s does not see all that the cursor's %s saw: the database was restored to the past, "+
		"or the cursor comes from another server. Try: compare the two, and start the relay with a cursor of its own", s1, r.cur.S0)
	if r.started {
		return err // reload once
	}
	return relay.Fatal(err)
}
