package snapshot

import (
	"context"

	"github.com/waybillhq/waybill/relay"
)

// walk goes over the rows of one span, or of a part of it, by the primary key: a big span is never sorted as a whole.
type walk struct {
	s0, s1   Snapshot
	within   Range   // After moves on with the rows
	topic    string  // empty: all
	ranges   []Range // what is left, once measured
	measured bool
}

// near is how many numbers are walked over for less than it costs to measure a span.
const near = 10_000

// page returns the next rows. last tells that none come behind them; without rows it is always set.
func (w *walk) page(ctx context.Context, s Session, budget relay.Budget) (rows []relay.Message, last bool, err error) {
	if !w.measured {
		if w.within.To-w.within.After <= near {
			w.ranges = []Range{w.within}
		} else if w.ranges, err = s.Bounds(ctx, w.s0, w.s1); err != nil {
			return nil, false, err
		}
		w.measured = true
	}
	for ; len(w.ranges) > 0; w.ranges = w.ranges[1:] {
		r := Range{max(w.ranges[0].After, w.within.After), min(w.ranges[0].To, w.within.To)}
		if r.After >= r.To {
			continue
		}
		rows, cut, err := s.Page(ctx, w.s0, w.s1, r, w.topic, budget.Messages, budget.Bytes)
		if err != nil {
			return nil, false, err
		}
		if n := len(rows); n > 0 {
			w.within.After = rows[n-1].Pos
			if !cut && n < budget.Messages {
				w.ranges = w.ranges[1:]
			}
			return rows, len(w.ranges) == 0, nil
		}
	}
	return nil, true, nil
}

// size is that of a payload in the last batch, on average.
type size int

// fit asks for about as many messages as fit into the bytes: that spares the server to be stopped in the middle of a page.
func (s size) fit(b relay.Budget) relay.Budget {
	if s > 0 {
		b.Messages = max(1, min(b.Messages, b.Bytes/int(s)+1))
	}
	return b
}

func (s *size) saw(rows []relay.Message) {
	if len(rows) > 0 {
		sum := 0
		for i := range rows {
			sum += len(rows[i].Payload)
		}
		*s = size(sum / len(rows))
	}
}
