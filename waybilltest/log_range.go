package waybilltest

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync/atomic"

	"github.com/waybillhq/waybill/relay"
)

type logRange struct {
	log       *Log
	after, to int
	topic     string
	crashed   chan struct{}
	closed    atomic.Bool
}

// OpenRange implements relay.Ranger.
func (l *Log) OpenRange(ctx context.Context, from, to relay.Position, topic string) (relay.Reader, error) {
	after, err1 := place(from)
	end, err2 := place(to)
	if end < after {
		return nil, relay.ErrNotYet
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return &logRange{log: l, after: after, to: end, topic: topic, crashed: l.crashed}, errors.Join(err1, err2, ctx.Err())
}

func (r *logRange) Read(ctx context.Context, budget relay.Budget) (relay.Batch, error) {
	select {
	case <-r.crashed:
		return relay.Batch{}, errors.New("waybilltest: the log crashed")
	case <-ctx.Done():
		return relay.Batch{}, ctx.Err()
	default:
	}
	if r.closed.Load() {
		return relay.Batch{}, errors.New("waybilltest: the reader is closed")
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	var rows []relay.Message
	for ; r.after < r.to; r.after++ {
		if m := r.log.rows[r.after]; m.Topic == r.topic {
			if rows = append(rows, m); fit(rows, budget) < len(rows) {
				rows = rows[:len(rows)-1]
				break
			}
		}
	}
	if len(rows) == 0 {
		return relay.Batch{}, io.EOF
	}
	return relay.Batch{Messages: rows, Position: func(n int) relay.Position {
		return relay.Position(strconv.FormatInt(rows[n-1].Pos, 10))
	}}, nil
}

func (r *logRange) Close() error {
	r.closed.Store(true)
	return nil
}
