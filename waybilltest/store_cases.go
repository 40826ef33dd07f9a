package waybilltest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
)

func (c *storeCase) startsEmpty() {
	if tenure := c.acquire(c.store, "a", time.Hour); tenure.Position != "" || len(tenure.Held) > 0 || tenure.Lease.Epoch < 1 {
		c.t.Errorf("got %+v", tenure)
	}
}

func (c *storeCase) oneOwner() {
	c.acquire(c.store, "a", time.Hour)
	if held := c.refused(c.other, "b", "a"); held.For <= 0 || held.For > time.Hour {
		c.t.Errorf("held for another %v of one hour", held.For)
	}
	c.acquire(c.store, "a", time.Hour) // its owner may take it again
}

func (c *storeCase) runsOut() {
	c.acquire(c.store, "a", 50*time.Millisecond)
	for deadline := time.Now().Add(patience); ; {
		_, err := c.other.Acquire(c.ctx(), relay.Claim{Relay: suiteRelay, Owner: "b", TTL: time.Hour})
		if err == nil {
			break
		}
		var held *relay.HeldError
		if !errors.As(err, &held) || held.For > 50*time.Millisecond || time.Now().After(deadline) {
			c.t.Fatal(err)
		}
		time.Sleep(held.For) // what a waiting owner does
	}
	c.refused(c.store, "a", "b")
}

func (c *storeCase) renews() {
	tenure := c.acquire(c.store, "a", time.Minute)
	if _, err := c.store.Renew(c.ctx(), tenure.Lease, time.Hour); err != nil {
		c.t.Fatal(err)
	}
	if held := c.refused(c.other, "b", "a"); held.For < 50*time.Minute {
		c.t.Errorf("after renewing by an hour it is held for another %v", held.For)
	}
	if _, err := c.store.Renew(c.ctx(), tenure.Lease, time.Minute); err != nil {
		c.t.Fatal(err)
	}
	if held := c.refused(c.other, "b", "a"); held.For > time.Minute {
		c.t.Errorf("after renewing by a minute it is held for another %v", held.For)
	}
}

func (c *storeCase) releases() {
	tenure := c.acquire(c.store, "a", time.Hour)
	c.save(tenure.Lease, relay.Save{Position: c.Position(1), Durable: true})
	if err := c.store.Release(c.ctx(), tenure.Lease); err != nil {
		c.t.Fatal(err)
	}
	if next := c.acquire(c.other, "b", time.Hour); next.Position != c.Position(1) {
		c.t.Errorf("the next owner starts at %q", next.Position)
	}
}

func (c *storeCase) releasesLost() {
	old := c.acquire(c.store, "a", time.Hour)
	c.acquire(c.store, "a", time.Hour)
	if err := c.store.Release(c.ctx(), old.Lease); err != nil {
		c.t.Errorf("release: %v", err)
	}
	c.refused(c.other, "b", "a")
}

func (c *storeCase) epochGrows() {
	var last int64
	for i := range 10 {
		tenure := c.acquire(c.store, "a", time.Hour)
		if tenure.Lease.Epoch <= last {
			c.t.Fatalf("epoch %d after %d", tenure.Lease.Epoch, last)
		}
		last = tenure.Lease.Epoch
		if i > 0 && tenure.Position != c.Position(i) {
			c.t.Fatalf("position %q, want %q", tenure.Position, c.Position(i))
		}
		c.save(tenure.Lease, relay.Save{Position: c.Position(i + 1)})
	}
}

func (c *storeCase) oldEpoch() {
	old := c.acquire(c.store, "a", time.Hour).Lease
	c.save(old, relay.Save{Position: c.Position(1), Park: []relay.Parked{parked(1, "k", relay.StateHeld)}})
	c.acquire(c.other, "a", time.Hour)
	c.lost("a save of the cursor", c.store.Save(c.ctx(), old, relay.Save{Position: c.Position(2)}))
	c.lost("a durable save", c.store.Save(c.ctx(), old, relay.Save{Position: c.Position(2), Durable: true}))
	c.lost("a save with parks", c.store.Save(c.ctx(), old, relay.Save{Position: c.Position(2), Park: []relay.Parked{parked(2, "l", relay.StateHeld)}}))
	c.lost("a save with unparks", c.store.Save(c.ctx(), old, relay.Save{Unpark: []relay.Parked{parked(1, "k", relay.StateHeld)}}))
	_, err := c.store.Renew(c.ctx(), old, time.Hour)
	c.lost("a renewal", err)
	now := c.acquire(c.other, "a", time.Hour)
	if now.Position != c.Position(1) || !slices.Equal(now.Held, []string{"k"}) {
		c.t.Errorf("the old owner changed something: %+v", now)
	}
}

func (c *storeCase) emptyPosition() {
	lease := c.acquire(c.store, "a", time.Hour).Lease
	c.save(lease, relay.Save{Position: c.Position(1)})
	c.save(lease, relay.Save{})
	c.save(lease, relay.Save{Park: []relay.Parked{parked(1, "k", relay.StateHeld)}, Durable: true})
	if now := c.acquire(c.store, "a", time.Hour); now.Position != c.Position(1) {
		c.t.Errorf("position %q, want %q", now.Position, c.Position(1))
	}
}

func (c *storeCase) held() {
	lease := c.acquire(c.store, "a", time.Hour).Lease
	whole := parked(3, "k", relay.StateHeld)
	whole.ContentType, whole.Payload = "application/json", []byte{0, 0xFF, '"', '\\'}
	whole.Headers = []waybill.Header{{Name: "b", Value: ""}, {Name: "a", Value: `"é" \ 🎉`}}
	empty := parked(5, "k", relay.StateHeld)
	empty.Payload = []byte{}
	tombstone := parked(4, "k", relay.StateHeld)
	tombstone.Payload, tombstone.Attempts, tombstone.Error = nil, 0, ""
	c.save(lease, relay.Save{Position: c.Position(5), Park: []relay.Parked{empty, whole, tombstone,
		parked(1, "other", relay.StateHeld), parked(2, "k", relay.StateParked)}})
	same := func(have []relay.Parked, want ...relay.Parked) {
		c.t.Helper()
		for i := range have {
			have[i].Time = have[i].Time.UTC()
		}
		if !reflect.DeepEqual(have, want) {
			c.t.Errorf("held %+v, want %+v", have, want)
		}
	}
	same(c.heldOf(lease, "k", 10), whole, tombstone, empty)
	same(c.heldOf(lease, "k", 2), whole, tombstone)
	same(c.heldOf(lease, "nobody", 10), []relay.Parked(nil)...)
	if now := c.acquire(c.store, "a", time.Hour); !slices.Equal(now.Held, []string{"k", "other"}) {
		c.t.Errorf("a new owner hears of the lanes %q", now.Held)
	}
}

func (c *storeCase) parkTwice() {
	lease := c.acquire(c.store, "a", time.Hour).Lease
	c.save(lease, relay.Save{Park: []relay.Parked{parked(1, "k", relay.StateHeld)}})
	again := parked(1, "k", relay.StateHeld)
	again.Attempts, again.Error, again.Payload = 9, "other", []byte("other")
	c.save(lease, relay.Save{Position: c.Position(2), Park: []relay.Parked{again, parked(2, "k", relay.StateHeld), parked(2, "k", relay.StateHeld)}})
	have := c.heldOf(lease, "k", 10)
	if len(have) != 2 || have[0].Attempts != 1 || have[0].Error != "refused" || string(have[0].Payload) != "payload" {
		c.t.Errorf("held %+v", have)
	}
}

func (c *storeCase) retried() {
	lease := c.acquire(c.store, "a", time.Hour).Lease
	c.save(lease, relay.Save{Park: []relay.Parked{parked(1, "k", relay.StateHeld), parked(2, "k", relay.StateHeld)}})
	again := parked(1, "k", relay.StateHeld)
	again.Attempts, again.Error, again.Payload = 2, "still refused", []byte("other")
	c.save(lease, relay.Save{Retried: []relay.Parked{again, parked(99, "k", relay.StateHeld)}}) // 99 is gone, which is no error
	have := c.heldOf(lease, "k", 10)
	if len(have) != 2 || have[0].Attempts != 2 || have[0].Error != "still refused" || string(have[0].Payload) != "payload" || have[1].Attempts != 1 {
		c.t.Errorf("held %+v", have)
	}
}

func (c *storeCase) unpark() {
	lease := c.acquire(c.store, "a", time.Hour).Lease
	one, two, three := parked(1, "k", relay.StateHeld), parked(2, "k", relay.StateHeld), parked(3, "l", relay.StateParked)
	c.save(lease, relay.Save{Park: []relay.Parked{one, two, three}})
	c.save(lease, relay.Save{Unpark: []relay.Parked{one}, Published: []*relay.Message{&one.Message}})
	if have := c.heldOf(lease, "k", 10); len(have) != 1 || have[0].Pos != 2 {
		c.t.Errorf("held %+v", have)
	}
	c.save(lease, relay.Save{Unpark: []relay.Parked{two}, Park: []relay.Parked{parked(4, "m", relay.StateHeld)}})
	if now := c.acquire(c.store, "a", time.Hour); !slices.Equal(now.Held, []string{"m"}) {
		c.t.Errorf("a new owner hears of the lanes %q", now.Held)
	}
}

func (c *storeCase) many() {
	lease := c.acquire(c.store, "a", time.Hour).Lease
	const count = 1234
	var list []relay.Parked
	for pos := range int64(count) {
		list = append(list, parked(pos+1, "k", relay.StateHeld))
	}
	c.save(lease, relay.Save{Position: c.Position(1), Park: list})
	have := c.heldOf(lease, "k", count+1)
	for i, p := range have {
		if p.Pos != int64(i+1) {
			c.t.Fatalf("the %dth has pos %d", i, p.Pos)
		}
	}
	c.save(lease, relay.Save{Unpark: have[:count-1]})
	if left := c.heldOf(lease, "k", count); len(have) != count || len(left) != 1 || left[0].Pos != count {
		c.t.Errorf("%d were held, %d are left", len(have), len(left))
	}
}

func (c *storeCase) anyError() {
	lease := c.acquire(c.store, "a", time.Hour).Lease
	odd := parked(1, "k", relay.StateHeld)
	odd.Error = "cut \xe2\x82, zero \x00 é"
	c.save(lease, relay.Save{Park: []relay.Parked{odd}, Retried: []relay.Parked{odd}})
	if have := c.heldOf(lease, "k", 1); len(have) != 1 || have[0].Error == "" {
		c.t.Errorf("held %+v", have)
	}
}

func (c *storeCase) apart() {
	lease := c.acquire(c.store, "a", time.Hour).Lease
	branch := relay.Branch{Topic: "a", Position: c.Position(1)}
	c.save(lease, relay.Save{Position: c.Position(1), Park: []relay.Parked{parked(1, "k", relay.StateHeld)}, Branches: []relay.Branch{branch}})
	tenure, err := c.other.Acquire(c.ctx(), relay.Claim{Relay: "another", Owner: "b", TTL: time.Hour})
	if err != nil || tenure.Position != "" || len(tenure.Held) > 0 || len(tenure.Branches) > 0 {
		c.t.Fatalf("another relay starts from %+v, %v", tenure, err)
	}
	if have := c.heldOf(tenure.Lease, "k", 10); len(have) > 0 {
		c.t.Errorf("another relay sees %+v", have)
	}
	if err := c.other.Save(c.ctx(), tenure.Lease, relay.Save{Unpark: []relay.Parked{parked(1, "k", relay.StateHeld)}, Merged: []string{"a"}}); err != nil {
		c.t.Fatal(err)
	}
	if have := c.heldOf(lease, "k", 10); len(have) != 1 {
		c.t.Errorf("another relay took a message away: %+v", have)
	}
	c.branched(branch)
}

// races lets an old owner save, with a message set aside and branches each time, while a new one takes over. What the takeover
// returned must be all that the old owner ever did: its last position, every lane that stands behind it, and every branch.
func (c *storeCase) races() {
	for round := range 20 {
		old := c.acquire(c.store, "a", time.Hour)
		base := round * 1_000_000
		result := make(chan error, 1)
		started := make(chan struct{})
		go func() {
			for n := base + 1; ; n++ {
				save := relay.Save{Position: c.Position(n)}
				if n%3 == 0 {
					save.Branches = []relay.Branch{{Topic: "moves", Position: c.Position(n)}, {Topic: fmt.Sprint("begins", n%30), Position: c.Position(n)}}
					save.Merged = []string{fmt.Sprint("begins", (n+15)%30)}
				}
				if n%2 == 0 && n < base+100 {
					save.Park = []relay.Parked{parked(int64(n), fmt.Sprint(n), relay.StateHeld)}
				}
				if err := c.store.Save(c.t.Context(), old.Lease, save); err != nil {
					result <- err
					return
				}
				if n == base+2 {
					close(started)
				}
			}
		}()
		select {
		case <-started:
		case err := <-result:
			c.t.Fatalf("a save by the owner: %v", err)
		}
		taken := c.acquire(c.other, "a", time.Hour)
		c.lost("a save that raced", <-result)
		now := c.acquire(c.other, "a", time.Hour)
		if now.Position != taken.Position || !slices.Equal(now.Held, taken.Held) || !slices.Equal(byTopic(now.Branches), byTopic(taken.Branches)) {
			c.t.Fatalf("the takeover returned %q with %d lanes and the branches %+v, but there were %q with %d and %+v",
				taken.Position, len(taken.Held), taken.Branches, now.Position, len(now.Held), now.Branches)
		}
		var gone []relay.Parked
		for _, lane := range now.Held {
			gone = append(gone, c.heldOf(now.Lease, lane, 10)...)
		}
		if err := c.other.Save(c.ctx(), now.Lease, relay.Save{Unpark: gone}); err != nil {
			c.t.Fatal(err)
		}
	}
}
