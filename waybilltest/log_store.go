package waybilltest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waybillhq/waybill/relay"
)

// relayState is what the store remembers of one relay, now and as it would be after a crash.
type relayState struct{ now, durable storeState }

type storeState struct {
	lease    relay.Lease
	expires  time.Time
	position relay.Position
	parked   map[int64]relay.Parked
	branches map[string]relay.Branch
}

func (s storeState) clone() storeState {
	s.parked, s.branches = maps.Clone(s.parked), maps.Clone(s.branches)
	return s
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Acquire implements relay.Store.
func (l *Log) Acquire(ctx context.Context, claim relay.Claim) (relay.Tenure, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return relay.Tenure{}, err
	}
	r := l.relays[claim.Relay]
	if r == nil {
		r = &relayState{}
		r.now.parked, r.now.branches = map[int64]relay.Parked{}, map[string]relay.Branch{}
		l.relays[claim.Relay] = r
	}
	s := &r.now
	if left := time.Until(s.expires); left > 0 && s.lease.Owner != claim.Owner {
		return relay.Tenure{}, &relay.HeldError{Owner: s.lease.Owner, For: left}
	}
	l.greatest = max(l.greatest+1, time.Now().UnixMilli())
	s.lease, s.expires = relay.Lease{Relay: claim.Relay, Owner: claim.Owner, Epoch: l.greatest}, time.Now().Add(claim.TTL)
	var held []string
	for _, p := range s.parked {
		if p.State == relay.StateHeld {
			held = append(held, p.Lane)
		}
	}
	slices.Sort(held)
	r.durable = s.clone()
	branches := slices.SortedFunc(maps.Values(s.branches), func(a, b relay.Branch) int { return cmp.Compare(a.Topic, b.Topic) })
	return relay.Tenure{Lease: s.lease, Position: s.position, Held: slices.Compact(held), Branches: branches}, nil
}

// own returns the state of a relay whose newest lease this is.
func (l *Log) own(ctx context.Context, lease relay.Lease) (*relayState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r := l.relays[lease.Relay]; r != nil && r.now.lease == lease {
		return r, nil
	}
	return nil, relay.ErrLost
}

// Renew implements relay.Store.
func (l *Log) Renew(ctx context.Context, lease relay.Lease, ttl time.Duration) (asked bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.own(ctx, lease)
	if err != nil {
		return false, err
	}
	r.now.expires = time.Now().Add(ttl)
	r.durable.expires = r.now.expires
	return false, nil
}

// Save implements relay.Store.
func (l *Log) Save(ctx context.Context, lease relay.Lease, save relay.Save) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.own(ctx, lease)
	if err != nil {
		return err
	}
	s := &r.now
	for _, p := range save.Park {
		if old, there := s.parked[p.Pos]; there && old.ID != p.ID {
			return relay.Fatal(fmt.Errorf("waybilltest: the message with pos %d is set aside as %q and as %q", p.Pos, old.ID, p.ID))
		}
	}
	s.position = cmp.Or(save.Position, s.position)
	for _, p := range save.Park {
		if _, there := s.parked[p.Pos]; !there {
			s.parked[p.Pos] = p
		}
	}
	for _, p := range save.Retried {
		if old, there := s.parked[p.Pos]; there {
			old.Attempts, old.Error = p.Attempts, p.Error
			s.parked[p.Pos] = old
		}
	}
	for _, p := range save.Unpark {
		delete(s.parked, p.Pos)
	}
	for _, b := range save.Branches {
		s.branches[b.Topic] = b
	}
	for _, topic := range save.Merged {
		delete(s.branches, topic)
	}
	if save.Durable {
		r.durable = s.clone()
	}
	return nil
}

// Held implements relay.Store.
func (l *Log) Held(ctx context.Context, lease relay.Lease, lane string, limit int) ([]relay.Parked, error) {
	return l.aside(ctx, lease.Relay, limit, func(p relay.Parked) bool { return p.State == relay.StateHeld && p.Lane == lane })
}

// Parked returns everything that a relay has set aside, oldest first.
func (l *Log) Parked(name string) []relay.Parked {
	parked, _ := l.aside(context.Background(), name, 0, func(relay.Parked) bool { return true })
	return parked
}

func (l *Log) aside(ctx context.Context, name string, limit int, want func(relay.Parked) bool) (list []relay.Parked, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.relays[name]
	if r == nil {
		return nil, ctx.Err()
	}
	for _, pos := range slices.Sorted(maps.Keys(r.now.parked)) {
		if p := r.now.parked[pos]; want(p) && (limit == 0 || len(list) < limit) {
			list = append(list, p)
		}
	}
	return list, ctx.Err()
}

// Release implements relay.Store.
func (l *Log) Release(ctx context.Context, lease relay.Lease) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, err := l.own(ctx, lease); err == nil {
		r.now.expires, r.durable.expires = time.Time{}, time.Time{}
	}
	return ctx.Err()
}
