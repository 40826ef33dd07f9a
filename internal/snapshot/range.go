package snapshot

import (
	"context"
	"math"

	"github.com/waybillhq/waybill/relay"
)

// RangeReader reads once more what is behind one cursor and not behind a later one. It is not safe for concurrent use.
type RangeReader struct {
	session Session
	to      Cursor
	parts   []*walk
	size    size
}

// NewRange returns a reader of the messages of one topic (empty: of all) behind from and not behind to, or relay.ErrNotYet. Both
// come from readers that gave out only what is durable.
//
// Between the two lie the rest of the span that from is in, then what to's S0 sees beyond it, then to's span up to its Last.
// The middle may hold many spans, and is one all the same: a span is what lies between any two snapshots.
func NewRange(s Session, from, to Cursor, topic string) (*RangeReader, error) {
	r := &RangeReader{session: s, to: to}
	part := func(s0, s1 Snapshot, after, upTo int64) {
		r.parts = append(r.parts, &walk{s0: s0, s1: s1, within: Range{after, upTo}, topic: topic})
	}
	seen := from.Newest()
	sameSpan := from.Last > 0 && to.Last >= from.Last && from.S0.Equal(to.S0) && from.S1.Equal(to.S1)
	switch {
	case sameSpan:
		part(from.S0, from.S1, from.Last, to.Last)
		return r, nil
	case !to.S0.Covers(seen):
		return nil, relay.ErrNotYet
	}
	if from.Last > 0 {
		part(from.S0, from.S1, from.Last, math.MaxInt64)
	}
	if !seen.Equal(to.S0) {
		part(seen, to.S0, 0, math.MaxInt64)
	}
	if to.Last > 0 {
		part(to.S0, to.S1, 0, to.Last)
	}
	return r, nil
}

// Next returns what comes next, never an empty batch but at the end, whose position is to.
func (r *RangeReader) Next(ctx context.Context, budget relay.Budget) (batch relay.Batch, end bool, err error) {
	budget = r.size.fit(budget)
	for ; len(r.parts) > 0; r.parts = r.parts[1:] {
		at := r.parts[0]
		rows, _, err := at.page(ctx, r.session, budget)
		if err != nil {
			return relay.Batch{}, false, err
		}
		if len(rows) > 0 {
			r.size.saw(rows)
			return relay.Batch{Messages: rows, Position: func(n int) relay.Position {
				return relay.Position(Cursor{S0: at.s0, Last: rows[n-1].Pos, S1: at.s1}.String())
			}}, false, nil
		}
	}
	return relay.Batch{Position: func(int) relay.Position { return relay.Position(r.to.String()) }}, true, nil
}
