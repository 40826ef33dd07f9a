package sqlite

import (
	"cmp"
	"context"
	"io"
	"strconv"

	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/relay"
)

// rangeReader takes a connection for each page alone, so that db need not allow one more.
type rangeReader struct {
	source      *Source
	incarnation int64
	after, to   int64
	topic       string
	life        context.Context // ends by Close
	end         context.CancelFunc
}

var _ relay.Ranger = (*Source)(nil)

// OpenRange implements relay.Ranger. What lies behind a saved position was durable before it was first read.
func (s *Source) OpenRange(ctx context.Context, from, to relay.Position, topic string) (relay.Reader, error) {
	r := &rangeReader{source: s, topic: topic}
	var err error
	if r.after, err = parse(cmp.Or(from, "0")); err != nil {
		return nil, err
	}
	if r.to, err = parse(to); err != nil {
		return nil, err
	}
	if r.to < r.after {
		return nil, relay.ErrNotYet
	}
	if r.incarnation, err = s.store.Incarnation(ctx); err != nil {
		return nil, err
	}
	r.life, r.end = context.WithCancel(context.Background())
	return r, nil
}

// Read implements relay.Reader.
func (r *rangeReader) Read(ctx context.Context, budget relay.Budget) (relay.Batch, error) {
	switch {
	case r.life.Err() != nil:
		return relay.Batch{}, errClosed
	case ctx.Err() != nil:
		return relay.Batch{}, ctx.Err()
	}
	query, cancel := context.WithCancel(r.life)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	page, err := r.page(query, budget)
	switch {
	case ctx.Err() != nil:
		return relay.Batch{}, ctx.Err()
	case err != nil:
		return relay.Batch{}, failedRead(err)
	case len(page) == 0:
		return relay.Batch{}, io.EOF
	}
	r.after = page[len(page)-1].Pos
	return relay.Batch{Messages: page, Position: func(n int) relay.Position {
		return relay.Position(strconv.FormatInt(page[n-1].Pos, 10))
	}}, nil
}

func (r *rangeReader) page(ctx context.Context, budget relay.Budget) ([]relay.Message, error) {
	rows, err := r.source.db.QueryContext(ctx, r.source.topic, r.after, budget.Messages, r.to, r.topic)
	if err != nil {
		return nil, err
	}
	page, _, err := sqlstore.Messages(rows, budget.Bytes, r.incarnation)
	return page, err
}

// Close implements relay.Reader.
func (r *rangeReader) Close() error {
	r.end()
	return nil
}
