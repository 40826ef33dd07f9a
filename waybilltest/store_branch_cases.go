package waybilltest

import (
	"cmp"
	"slices"
	"time"

	"github.com/waybillhq/waybill/relay"
)

// branched expects that a new owner hears of these branches, in any order.
func (c *storeCase) branched(want ...relay.Branch) relay.Tenure {
	c.t.Helper()
	tenure := c.acquire(c.other, "a", time.Hour)
	if have := byTopic(tenure.Branches); !slices.Equal(have, byTopic(want)) {
		c.t.Fatalf("a new owner hears of %+v, want %+v", have, want)
	}
	return tenure
}

func byTopic(list []relay.Branch) []relay.Branch {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b relay.Branch) int { return cmp.Compare(a.Topic, b.Topic) })
	return list
}

func (c *storeCase) branches() {
	lease := c.branched().Lease
	a := relay.Branch{Topic: "a", Position: c.Position(1), Error: "no topic a"}
	b := relay.Branch{Topic: "b.c_d-%", Position: c.Position(2), Error: "cut \xe2\x82, zero \x00 é"}
	c.save(lease, relay.Save{Position: c.Position(3), Branches: []relay.Branch{a, b}})
	tenure := c.acquire(c.other, "a", time.Hour)
	if have := byTopic(tenure.Branches); len(have) != 2 || have[0] != a || have[1].Topic != b.Topic || have[1].Position != b.Position || have[1].Error == "" {
		c.t.Fatalf("a new owner hears of %+v", have)
	}
	if tenure.Position != c.Position(3) {
		c.t.Errorf("the relay's own cursor is %q, want %q", tenure.Position, c.Position(3))
	}
	a.Position, a.Error = c.Position(4), ""
	c.save(tenure.Lease, relay.Save{Branches: []relay.Branch{a}, Merged: []string{b.Topic, "never was"}, Durable: true})
	tenure = c.branched(a)
	e := relay.Branch{Topic: "e", Position: c.Position(5), Error: "mostly held"}
	c.save(tenure.Lease, relay.Save{Branches: []relay.Branch{e}, Merged: []string{"a"}, Park: []relay.Parked{parked(1, "k", relay.StateHeld)}})
	tenure = c.branched(e)
	if tenure.Position != c.Position(3) || !slices.Equal(tenure.Held, []string{"k"}) {
		c.t.Errorf("the relay stands at %q with the lanes %q", tenure.Position, tenure.Held)
	}
}

func (c *storeCase) oldBranches() {
	old := c.branched().Lease
	a := relay.Branch{Topic: "a", Position: c.Position(1), Error: "no topic a"}
	c.save(old, relay.Save{Position: c.Position(1), Branches: []relay.Branch{a}})
	now := c.branched(a).Lease
	moved, b := a, relay.Branch{Topic: "b", Position: c.Position(2)}
	moved.Position = c.Position(2)
	c.lost("a branch that moves", c.store.Save(c.ctx(), old, relay.Save{Branches: []relay.Branch{moved}}))
	c.lost("a branch that begins", c.store.Save(c.ctx(), old, relay.Save{Branches: []relay.Branch{b}, Durable: true}))
	c.lost("a branch that ends", c.store.Save(c.ctx(), old, relay.Save{Merged: []string{"a"}}))
	c.save(now, relay.Save{Branches: []relay.Branch{moved}})
	c.branched(moved)
}

// allOrNothing sets a message aside whose number another one has.
func (c *storeCase) allOrNothing() {
	lease := c.branched().Lease
	a := relay.Branch{Topic: "a", Position: c.Position(1), Error: "no topic a"}
	first := parked(1, "k", relay.StateHeld)
	c.save(lease, relay.Save{Position: c.Position(1), Branches: []relay.Branch{a}, Park: []relay.Parked{first}})
	another := parked(1, "l", relay.StateHeld)
	another.ID = "another"
	err := c.store.Save(c.ctx(), lease, relay.Save{
		Position: c.Position(2), Branches: []relay.Branch{{Topic: "b", Position: c.Position(1)}}, Merged: []string{"a"},
		Park: []relay.Parked{parked(2, "m", relay.StateHeld), another}, Unpark: []relay.Parked{first}, Durable: true,
	})
	if !relay.IsFatal(err) {
		c.t.Errorf("another message with the same pos was set aside: %v", err)
	}
	if now := c.branched(a); now.Position != c.Position(1) || !slices.Equal(now.Held, []string{"k"}) {
		c.t.Errorf("a part of the save was done: %+v", now)
	}
}

// claimsTopics cannot ask for the patterns: they are for people who look.
func (c *storeCase) claimsTopics() {
	var position relay.Position
	for i, topics := range [][]string{{"orders.*", "a"}, {"orders.*", "a"}, {`[odd]`, `"`}, nil, {}} {
		tenure, err := c.store.Acquire(c.ctx(), relay.Claim{Relay: suiteRelay, Owner: "a", TTL: time.Hour, Topics: topics})
		if err != nil || tenure.Position != position || len(tenure.Branches) > 0 {
			c.t.Fatalf("with the topics %q: %+v, %v", topics, tenure, err)
		}
		position = c.Position(i + 1)
		c.save(tenure.Lease, relay.Save{Position: position})
	}
}
