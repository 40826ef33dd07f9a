package sim

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/relay"
)

// newReader returns the right reader, or the one of the mistake.
func (s *session) newReader(from relay.Position) (reader, error) {
	switch s.p.w.Broken {
	case IDAboveLast:
		last, _ := strconv.ParseInt(string(from), 10, 64) // empty: from the beginning
		return &idReader{s, last}, nil
	case XidOrder:
		r := &xidReader{session: s}
		_, _ = fmt.Sscanf(string(from), "%d %d", &r.xid, &r.pos)
		return r, nil
	}
	cur := snapshot.Cursor{S0: snapshot.Beginning}
	if from != "" {
		var err error
		if cur, err = snapshot.ParseCursor(string(from)); err != nil {
			return nil, relay.Fatal(err)
		}
	}
	r := snapshot.NewReader(s, cur)
	switch s.p.w.Broken {
	case MovedWhenRead:
		return movedReader{r}, nil
	case ReadTwice:
		return &twiceReader{reader: r}, nil
	}
	return r, nil
}

// otherReader tells that positions are not those of snapshots.
func (w *world) otherReader() bool { return w.Broken == IDAboveLast || w.Broken == XidOrder }

// idReader takes "pos > last" for the order of commits: it loses rows of transactions that commit late.
type idReader struct {
	*session
	last int64
}

func (r *idReader) Next(ctx context.Context, b relay.Budget) (relay.Batch, bool, error) {
	rows, err := r.read(ctx, b, func(x *row) bool { return x.pos > r.last }, nil)
	if err != nil || len(rows) == 0 {
		return relay.Batch{}, false, err
	}
	r.last = rows[len(rows)-1].Pos
	return relay.Batch{Messages: rows, Position: func(n int) relay.Position {
		return relay.Position(strconv.FormatInt(rows[n-1].Pos, 10))
	}}, true, nil
}

// xidReader reads behind the oldest running transaction in the order of transaction numbers: it turns keys around.
type xidReader struct {
	*session
	xid uint64
	pos int64
}

func (r *xidReader) Next(ctx context.Context, b relay.Budget) (relay.Batch, bool, error) {
	xids := map[int64]uint64{}
	before := func(x, y *row) int { return int(x.tx.xid) - int(y.tx.xid) }
	rows, err := r.read(ctx, b, func(x *row) bool {
		xids[x.pos] = x.tx.xid
		return x.tx.xid < r.p.w.db.snapshot().Xmin && (x.tx.xid > r.xid || x.tx.xid == r.xid && x.pos > r.pos)
	}, before)
	if err != nil || len(rows) == 0 {
		return relay.Batch{}, false, err
	}
	r.pos = rows[len(rows)-1].Pos
	r.xid = xids[r.pos]
	return relay.Batch{Messages: rows, Position: func(n int) relay.Position {
		return relay.Position(fmt.Sprint(xids[rows[n-1].Pos], " ", rows[n-1].Pos))
	}}, true, nil
}

// read returns the visible rows that want tells of, by pos or as order says, once they are durable.
func (s *session) read(ctx context.Context, b relay.Budget, want func(*row) bool, order func(x, y *row) int) (list []relay.Message, err error) {
	var lsn uint64
	err = s.statement(func() {
		lsn = s.p.w.db.lsn
		var rows []*row
		for _, r := range s.p.w.db.rows {
			if r.visible() && want(r) {
				rows = append(rows, r)
			}
		}
		if order != nil {
			slices.SortStableFunc(rows, order)
		}
		list, _ = s.take(rows[:min(len(rows), b.Messages)], b.Bytes)
	})
	if err == nil && len(list) > 0 {
		err = s.Flush(ctx, lsn)
	}
	return list, err
}

// movedReader gives the position behind all that was read to each message of it.
type movedReader struct{ reader }

func (r movedReader) Next(ctx context.Context, b relay.Budget) (relay.Batch, bool, error) {
	batch, moved, err := r.reader.Next(ctx, b)
	if right := batch.Position; right != nil {
		batch.Position = func(int) relay.Position { return right(len(batch.Messages)) }
	}
	return batch, moved, err
}

// twiceReader gives out each page twice.
type twiceReader struct {
	reader
	again relay.Batch
}

func (r *twiceReader) Next(ctx context.Context, b relay.Budget) (relay.Batch, bool, error) {
	if batch := r.again; len(batch.Messages) > 0 {
		r.again = relay.Batch{}
		return batch, true, nil
	}
	batch, moved, err := r.reader.Next(ctx, b)
	r.again = batch
	return batch, moved, err
}
