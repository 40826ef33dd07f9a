package waybilltest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
)

// StoreHarness is one empty store for one case of the suite.
type StoreHarness struct {
	// Open returns the store as another process would see it: with connections of its own, over the same data.
	Open func(t *testing.T) relay.Store
	// Position returns the n-th of some positions that the store takes, for n from 1. Defaults to the number as text.
	Position func(n int) relay.Position
}

// TestStore shows that a store keeps the contract of relay.Store with a real database. newHarness is called once a case.
func TestStore(t *testing.T, newHarness func(t *testing.T) StoreHarness) {
	cases := []struct {
		name string
		run  func(*storeCase)
	}{
		{"a new relay starts at the empty position", (*storeCase).startsEmpty},
		{"a relay has one owner at a time", (*storeCase).oneOwner},
		{"a lease that ran out can be taken", (*storeCase).runsOut},
		{"renewing extends the lease", (*storeCase).renews},
		{"a released lease can be taken at once", (*storeCase).releases},
		{"releasing a lost lease does nothing", (*storeCase).releasesLost},
		{"every takeover has a greater epoch and the same position", (*storeCase).epochGrows},
		{"an old epoch can do nothing", (*storeCase).oldEpoch},
		{"a save without a position leaves the cursor", (*storeCase).emptyPosition},
		{"messages set aside come back whole, oldest first", (*storeCase).held},
		{"a message set aside twice stays as it was", (*storeCase).parkTwice},
		{"a retry changes attempts and error alone", (*storeCase).retried},
		{"published messages leave, and parked ones hold no lane", (*storeCase).unpark},
		{"many messages are set aside at once", (*storeCase).many},
		{"any text is kept as an error", (*storeCase).anyError},
		{"branches begin, move and merge", (*storeCase).branches},
		{"an old epoch changes no branch", (*storeCase).oldBranches},
		{"a save that cannot be done does nothing of it", (*storeCase).allOrNothing},
		{"the topics of a claim change nothing else", (*storeCase).claimsTopics},
		{"relays do not see each other", (*storeCase).apart},
		{"no save of an old owner survives a takeover that it races", (*storeCase).races},
	}
	for _, of := range cases {
		t.Run(of.name, func(t *testing.T) {
			c := &storeCase{StoreHarness: newHarness(t), t: t}
			if c.Position == nil {
				c.Position = func(n int) relay.Position { return relay.Position(fmt.Sprint(n)) }
			}
			c.store, c.other = c.Open(t), c.Open(t)
			of.run(c)
		})
	}
}

// storeCase is one run of one case, with two processes.
type storeCase struct {
	StoreHarness
	t            *testing.T
	store, other relay.Store
}

const suiteRelay = "suite"

func (c *storeCase) ctx() context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *storeCase) acquire(store relay.Store, owner string, ttl time.Duration) relay.Tenure {
	c.t.Helper()
	tenure, err := store.Acquire(c.ctx(), relay.Claim{Relay: suiteRelay, Owner: owner, TTL: ttl})
	if err != nil {
		c.t.Fatalf("acquire by %s: %v", owner, err)
	}
	if tenure.Lease.Relay != suiteRelay || tenure.Lease.Owner != owner {
		c.t.Fatalf("acquire by %s gave the lease %+v", owner, tenure.Lease)
	}
	return tenure
}

// refused expects a HeldError.
func (c *storeCase) refused(store relay.Store, owner, holder string) *relay.HeldError {
	c.t.Helper()
	_, err := store.Acquire(c.ctx(), relay.Claim{Relay: suiteRelay, Owner: owner, TTL: time.Hour})
	var held *relay.HeldError
	if !errors.As(err, &held) || held.Owner != holder {
		c.t.Fatalf("acquire by %s beside %s: %v", owner, holder, err)
	}
	return held
}

func (c *storeCase) save(lease relay.Lease, save relay.Save) {
	c.t.Helper()
	if err := c.store.Save(c.ctx(), lease, save); err != nil {
		c.t.Fatalf("save: %v", err)
	}
}

func (c *storeCase) lost(what string, err error) {
	c.t.Helper()
	if !errors.Is(err, relay.ErrLost) {
		c.t.Errorf("%s returned %v, want ErrLost", what, err)
	}
}

func (c *storeCase) heldOf(lease relay.Lease, lane string, limit int) []relay.Parked {
	c.t.Helper()
	list, err := c.other.Held(c.ctx(), lease, lane, limit)
	if err != nil {
		c.t.Fatalf("held: %v", err)
	}
	return list
}

// parked is a message set aside.
func parked(pos int64, lane, state string) relay.Parked {
	return relay.Parked{
		Message: relay.Message{
			Message: waybill.Message{ID: fmt.Sprint(pos), Topic: "topic", Key: lane, Type: "type", Payload: []byte("payload"),
				Time: time.Date(2026, 1, 2, 3, 4, 5, 678_901_000, time.UTC)},
			Pos: pos, Incarnation: 7,
		},
		Lane: lane, State: state, Attempts: 1, Error: "refused",
	}
}
