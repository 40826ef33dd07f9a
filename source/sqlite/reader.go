package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"sync"

	"github.com/waybillhq/waybill/internal/poll"
	"github.com/waybillhq/waybill/internal/sqliteconn"
	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/relay"
)

var errClosed = errors.New("waybill: WB1208 the reader is closed")

type reader struct {
	source      *Source
	incarnation int64
	pace        *poll.Pace
	life        context.Context // ends by Close
	end         context.CancelFunc

	mu      sync.Mutex // held by Read: Close waits for it
	conn    *sqliteconn.Conn
	page    *sql.Stmt
	after   int64 // everything up to this pos has been returned
	durable int64 // everything up to this pos survives a crash
	moved   bool  // after was set by Open and must be saved
	more    bool  // the last page was full
}

var _ relay.Waker = (*reader)(nil)

// Wake implements relay.Waker.
func (r *reader) Wake() { r.pace.Wake() }

// Close implements relay.Reader.
func (r *reader) Close() error {
	r.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conn.Close()
}

// Read implements relay.Reader.
func (r *reader) Read(ctx context.Context, budget relay.Budget) (relay.Batch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.life, cancel)()
	if r.moved {
		r.moved = false
		return r.batch(nil), nil
	}
	for {
		if !r.more {
			if err := r.pace.Wait(ctx); err != nil {
				return relay.Batch{}, r.ended(ctx, err)
			}
		}
		page, err := r.look(ctx, budget)
		if err != nil {
			return relay.Batch{}, r.ended(ctx, err)
		}
		r.pace.Looked(len(page) > 0, 0)
		if len(page) > 0 {
			return r.batch(page), nil
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
	return err
}

// look returns the next page, made durable. Its statements take no time worth interrupting; the flush does.
func (r *reader) look(ctx context.Context, budget relay.Budget) ([]relay.Message, error) {
	quick := context.WithoutCancel(ctx)
	changed, err := r.conn.Changed(quick)
	if err != nil || !changed && !r.more {
		return nil, failedRead(err)
	}
	rows, err := r.page.QueryContext(quick, r.after, budget.Messages)
	if err != nil {
		return nil, failedRead(err)
	}
	page, cut, err := sqlstore.Messages(rows, budget.Bytes, r.incarnation)
	if err != nil || len(page) == 0 {
		r.more = false
		return nil, failedRead(err)
	}
	if page[len(page)-1].Pos > r.durable {
		last, err := r.lastPos(quick)
		if err == nil {
			err = r.conn.Flush(ctx)
		}
		if err != nil {
			r.more = true // the rows are still to be read, whether or not anybody commits again
			return nil, failedRead(err)
		}
		r.durable = last
	}
	r.more = cut || len(page) == budget.Messages
	return page, nil
}

func failedRead(err error) error {
	if err == nil {
		return nil
	}
	return failed("read the outbox", err)
}

func (r *reader) batch(page []relay.Message) relay.Batch {
	after := r.after
	if len(page) > 0 {
		r.after = page[len(page)-1].Pos
	}
	return relay.Batch{Messages: page, Position: func(n int) relay.Position {
		if n > 0 {
			after = page[n-1].Pos
		}
		return relay.Position(strconv.FormatInt(after, 10))
	}}
}
