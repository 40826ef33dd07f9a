package postgres

import (
	"context"
	"time"

	"github.com/waybillhq/waybill/internal/poll"
	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/relay"
)

// reader polls a snapshot reader.
type reader struct {
	source *Source
	*session
	spans *snapshot.Reader
	pace  *poll.Pace
	life  context.Context // ends with Close
	end   context.CancelFunc
	fresh bool            // the relay starts now, and where that is has not been returned
	more  bool            // the last look left something behind: look again at once
	told  snapshot.Cursor // the last position that was returned
	moved time.Time       // when a position without messages was last returned
}

var (
	_ relay.Reader = (*reader)(nil)
	_ relay.Waker  = (*reader)(nil)
)

// Read implements relay.Reader.
func (r *reader) Read(ctx context.Context, budget relay.Budget) (relay.Batch, error) {
	query, cancel := patient(ctx, r.life)
	defer cancel()
	if r.fresh { // now is saved before anything is confirmed: a restart in an outage must not begin at another now
		r.fresh = false
		r.told, r.moved = r.spans.Cursor(), time.Now()
		now := relay.Position(r.told.String())
		return relay.Batch{Position: func(int) relay.Position { return now }}, nil
	}
	for {
		if !r.more {
			if err := r.pace.Wait(ctx); err != nil {
				return relay.Batch{}, err
			}
		}
		batch, _, err := r.spans.Next(query, budget)
		if err != nil {
			return relay.Batch{}, err
		}
		n := len(batch.Messages)
		r.more = n > budget.Messages/2 // less is worth the short pause: it makes bigger batches
		r.pace.Looked(n > 0, 0)
		if n > 0 {
			r.told = r.spans.Cursor()
			return batch, nil
		}
		at := r.spans.Cursor()
		spanEnded := r.told.Last > 0 && at.Last == 0
		if (spanEnded || at.S0.Xmax >= r.told.S0.Xmax+worthSaving) && time.Since(r.moved) >= time.Second {
			r.told, r.moved = at, time.Now()
			return batch, nil
		}
	}
}

// patient returns a context for queries. They are not cut off when ctx ends, because that would end the session, which the
// last save needs; only one that hangs is.
func patient(ctx, life context.Context) (query context.Context, done func()) {
	query, cancel := context.WithCancel(life)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(2*time.Second, cancel) })
	return query, func() { stop(); cancel() }
}

// worthSaving is how many transactions, of whatever kind, make a position without messages worth saving. Each save and each
// renewal of the lease is a transaction itself: an idle relay must not keep itself busy by them.
const worthSaving = 64

// Wake implements relay.Waker.
func (r *reader) Wake() { r.pace.Wake() }

// Close implements relay.Reader.
func (r *reader) Close() error {
	r.end()
	r.source.forget(r)
	return r.session.close()
}
