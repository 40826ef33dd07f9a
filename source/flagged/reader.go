package flagged

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/waybillhq/waybill/internal/poll"
	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/relay"
)

var errClosed = errors.New("waybill: WB1403 the reader is closed")

type reader struct {
	source      *Source
	relay       string
	incarnation int64
	pace        *poll.Pace
	life        context.Context // ends by Close
	end         context.CancelFunc

	reading sync.Mutex // held by Read: Close waits for it
	conn    conn
	more    bool // there is more than the last page

	mu sync.Mutex
	// inFlight are messages that were returned and look unpublished in the table. There is no floor below which everything is
	// published: a transaction that commits late has low numbers, and its key's order would be lost.
	inFlight map[int64]bool
	// settled are those of them that a save has marked or set aside. They stay in flight until a look begins that sees the
	// save: a look that began before it still finds them.
	settled []int64
}

var _ relay.Waker = (*reader)(nil)

// Wake implements relay.Waker.
func (r *reader) Wake() { r.pace.Wake() }

// Close implements relay.Reader.
func (r *reader) Close() error {
	r.end()
	r.reading.Lock()
	defer r.reading.Unlock()
	return r.conn.Close()
}

func (r *reader) settle(save relay.Save) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range save.Published {
		r.settled = append(r.settled, m.Pos)
	}
	for _, p := range save.Park {
		r.settled = append(r.settled, p.Pos)
	}
}

// Read implements relay.Reader.
func (r *reader) Read(ctx context.Context, budget relay.Budget) (relay.Batch, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.life, cancel)()
	for {
		if !r.more {
			if err := r.pace.Wait(ctx); err != nil {
				return relay.Batch{}, r.ended(ctx, err)
			}
		}
		page, took, err := r.look(ctx, budget)
		if err != nil {
			r.conn.Interrupted()
			return relay.Batch{}, r.ended(ctx, err)
		}
		if took <= r.source.cfg.PollMin {
			took = 0
		}
		r.pace.Looked(len(page) > 0, took)
		if len(page) > 0 {
			return relay.Batch{Messages: page, Position: func(n int) relay.Position {
				// For people: the next Open does not need it. The first word keeps it apart from the cursors of tables without a flag.
				return relay.Position("flagged " + strconv.FormatInt(page[n-1].Pos, 10))
			}}, nil
		}
	}
}

// ended prefers the plain reason to what a driver makes of an interrupted statement.
func (r *reader) ended(ctx context.Context, err error) error {
	switch {
	case r.life.Err() != nil:
		return errClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return r.source.failed("read", err)
}

// look returns the next page, made durable, and how long it took to find what is not published.
func (r *reader) look(ctx context.Context, budget relay.Budget) (page []relay.Message, took time.Duration, err error) {
	changed, err := r.conn.Changed(ctx)
	if err != nil || !changed && !r.more {
		return nil, 0, err
	}
	r.more = true // until this look has found everything
	started := time.Now()
	fresh, more, err := r.unpublished(ctx, budget)
	took = time.Since(started)
	if err != nil {
		return nil, took, err
	}
	if len(fresh) == 0 {
		r.more = false
		return nil, took, nil
	}
	rows, err := r.conn.QueryContext(ctx, r.source.q.rows, r.source.d.list(fresh))
	if err != nil {
		return nil, took, err
	}
	page, cut, err := sqlstore.Messages(rows, budget.Bytes, r.incarnation)
	if err == nil {
		err = r.conn.Flush(ctx)
	}
	if err != nil {
		return nil, took, err
	}
	r.more = more || cut
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range page {
		r.inFlight[m.Pos] = true
	}
	return page, took, nil
}

// unpublished returns the numbers of the next messages. One plain statement: a scan that skips locked rows can return a
// key's second message without its first.
func (r *reader) unpublished(ctx context.Context, budget relay.Budget) (fresh []int64, more bool, err error) {
	r.mu.Lock()
	for _, pos := range r.settled {
		delete(r.inFlight, pos)
	}
	r.settled = nil
	limit := budget.Messages + len(r.inFlight)
	r.mu.Unlock()

	rows, err := r.conn.QueryContext(ctx, r.source.q.unpublished, r.relay, limit)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	bytes, n := 0, 0
	for ; rows.Next(); n++ {
		var pos int64
		var size int
		if err := rows.Scan(&pos, &size); err != nil {
			return nil, false, err
		}
		if r.inFlight[pos] { // only Read, which runs once at a time, changes the map
			continue
		}
		if len(fresh) == budget.Messages || bytes >= budget.Bytes {
			return fresh, true, nil
		}
		fresh = append(fresh, pos)
		bytes += size
	}
	return fresh, n == limit, rows.Err()
}
