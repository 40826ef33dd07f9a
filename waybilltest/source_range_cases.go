package waybilltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/waybillhq/waybill/relay"
)

// history is what a relay read, and the positions that it saved on its way.
type history struct {
	read      []relay.Message
	positions []relay.Position
	done      []int // how many messages are done at each
}

func (c *sourceCase) ranger() relay.Ranger {
	ranger, ok := c.opened.(relay.Ranger)
	if !ok {
		c.t.Skip("this source cannot read a part of its log again: it is no relay.Ranger")
	}
	return ranger
}

// live lets transactions come and go, as many at once as the database takes, and reads and saves beside. Only one of those
// that are open writes a key, so each key's numbers say its order.
func (c *sourceCase) live(rnd *rand.Rand, steps int) (h history) {
	const most = 4
	var open []Transaction
	var keys []int // of each
	_, alone := c.Lacks[Overlap]
	total := 0
	for step := 0; step < steps || len(open) > 0; step++ {
		switch i := rnd.IntN(4); {
		case step < steps && (len(open) == 0 || i == 0 && len(open) < most && !alone):
			for key := range most {
				if !slices.Contains(keys, key) {
					open, keys = append(open, c.Begin(c.t)), append(keys, key)
					break
				}
			}
			fallthrough
		case step < steps && i == 1:
			n := rnd.IntN(len(open))
			for range 1 + rnd.IntN(5) {
				m := message(string(rune('a'+keys[n])), fmt.Sprint(c.made))
				m.Topic = fmt.Sprintf("topic%d", rnd.IntN(3))
				open[n].Publish(m)
				c.made++
				total++
			}
		default:
			n := rnd.IntN(len(open))
			open[n].Commit()
			open, keys = slices.Delete(open, n, n+1), slices.Delete(keys, n, n+1)
			if rnd.IntN(3) == 0 && (len(open) == 0 || !alone) {
				c.commit(message("z", fmt.Sprint(c.made)))
				c.made++
				total++
				c.pass(&h, relay.Budget{Messages: 1 + rnd.IntN(8), Bytes: 1 << 20})
			}
		}
	}
	for len(h.read) < total {
		c.pass(&h, relay.Budget{Messages: 1 + rnd.IntN(20), Bytes: 1 << 20})
	}
	return h
}

// pass reads once, and saves in the midst and at the end of what came.
func (c *sourceCase) pass(h *history, budget relay.Budget) {
	c.t.Helper()
	batch, err := c.reader.Read(c.within(patience), budget)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	before := len(h.read)
	h.read = append(h.read, batch.Messages...)
	last := 0
	for _, n := range []int{(len(batch.Messages) + 1) / 2, len(batch.Messages)} {
		if n == last {
			continue
		}
		save := relay.Save{Position: batch.Position(n)}
		for i := range batch.Messages[last:n] {
			save.Published = append(save.Published, &batch.Messages[last+i])
		}
		if err := c.store.Save(c.within(patience), c.lease, save); err != nil {
			c.t.Fatalf("save: %v", err)
		}
		h.positions, h.done = append(h.positions, save.Position), append(h.done, before+n)
		last = n
	}
}

// between is what a range must give.
func (h history) between(i, j int, topic string) (ids []string) {
	for _, m := range h.read[h.done[i]:h.done[j]] {
		if m.Topic == topic {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// readRange reads a range to its end, or until enough messages have come, and returns the position behind them.
func (c *sourceCase) readRange(from, to relay.Position, topic string, enough, budget int) (ids []string, at relay.Position) {
	c.t.Helper()
	ctx := c.within(patience)
	reader, err := c.ranger().OpenRange(ctx, from, to, topic)
	if err != nil {
		c.t.Fatalf("open the range from %s to %s: %v", from, to, err)
	}
	defer func() {
		for range 2 {
			if err := reader.Close(); err != nil {
				c.t.Errorf("close the range: %v", err)
			}
		}
	}()
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := reader.Read(canceled, wide); !errors.Is(err, context.Canceled) {
		c.t.Fatalf("with a context that is over a range returned %v", err)
	}
	last := map[string]int64{}
	for len(ids) < enough {
		batch, err := reader.Read(ctx, relay.Budget{Messages: budget, Bytes: 1 << 20})
		if errors.Is(err, io.EOF) {
			return ids, to
		}
		if err != nil || len(batch.Messages) > budget {
			c.t.Fatalf("a range returned %d messages of %d, %v", len(batch.Messages), budget, err)
		}
		for i, m := range batch.Messages {
			if m.Topic != topic || m.Pos <= last[m.Key] {
				c.t.Fatalf("the range of %s holds %s of %s with pos %d behind %d", topic, m.ID, m.Topic, m.Pos, last[m.Key])
			}
			last[m.Key] = m.Pos
			ids, at = append(ids, m.ID), batch.Position(i+1)
		}
	}
	return ids, at
}

func (c *sourceCase) ranges() {
	c.ranger()
	rnd := rand.New(rand.NewPCG(7, 11))
	h := c.live(rnd, 120)
	h.positions, h.done = append([]relay.Position{""}, h.positions...), append([]int{0}, h.done...)
	result := c.readAside(c.within(patience)) // a range is read beside the reader
	for range 30 {
		i := rnd.IntN(len(h.positions))
		j := max(1, i+rnd.IntN(len(h.positions)-i))  // no reader gives the empty position
		topic := fmt.Sprintf("topic%d", rnd.IntN(4)) // the last is nobody's
		have, _ := c.readRange(h.positions[i], h.positions[j], topic, len(h.read)+1, 1+rnd.IntN(9))
		slices.Sort(have)
		if want := h.between(i, j, topic); !slices.Equal(have, want) {
			c.t.Fatalf("from %s to %s %s has %s, but %s was read", h.positions[i], h.positions[j], topic, have, want)
		}
	}
	for i := 0; i < 10; {
		a, b := 1+rnd.IntN(len(h.positions)-1), rnd.IntN(len(h.positions))
		if h.done[a] >= h.done[b] {
			continue
		}
		i++
		if _, err := c.ranger().OpenRange(c.within(patience), h.positions[b], h.positions[a], "topic0"); !errors.Is(err, relay.ErrNotYet) {
			c.t.Fatalf("the range from %s back to %s: %v", h.positions[b], h.positions[a], err)
		}
	}
	c.commit(message("z", "last"))
	if r := <-result; r.err != nil || !slices.Equal(r.ids, []string{"z-last"}) {
		c.t.Fatalf("beside ranges the reader returned %s, %v", r.ids, r.err)
	}
}

// rangeGoesOn follows a branch: a part of it is read and saved, its relay's cursor moves on, then a new owner reads the rest.
func (c *sourceCase) rangeGoesOn() {
	c.ranger()
	rnd := rand.New(rand.NewPCG(13, 17))
	h := c.live(rnd, 40)
	const topic = "topic0"
	branch := relay.Branch{Topic: topic, Position: h.positions[0], Error: "no such topic"}
	var have []string
	for round := range 5 {
		to := h.positions[len(h.positions)-1]
		if round < 4 {
			part, at := c.readRange(branch.Position, to, topic, 3, 2)
			have, branch.Position = append(have, part...), at
			c.saveBranch(branch, false)
			more := c.live(rnd, 20)
			for i := range more.done {
				more.done[i] += len(h.read)
			}
			h.read, h.positions, h.done = append(h.read, more.read...), append(h.positions, more.positions...), append(h.done, more.done...)
			c.reopen()
			branch = c.branch(topic)
			continue
		}
		rest, _ := c.readRange(branch.Position, to, topic, len(h.read)+1, 7)
		have = append(have, rest...)
	}
	slices.Sort(have)
	if want := h.between(0, len(h.positions)-1, topic); !slices.Equal(have, want) {
		c.t.Fatalf("the branch read %s, want %s", have, want)
	}
}

func (c *sourceCase) rangeSurvivesCrash() {
	c.ranger()
	c.commit(message("a", "1"), message("b", "1"), message("a", "2"))
	c.take(3)
	c.save(1, false)
	branch := relay.Branch{Topic: "topic", Position: c.last[0].behind(), Error: "no such topic"}
	c.saveBranch(branch, false)
	first := texts(c.last)[0]
	c.save(3, true)
	to := c.last[2].behind()
	c.crash()
	c.commit(message("a", "3"))
	if have, _ := c.readRange(c.branch("topic").Position, to, "topic", 10, 10); len(have) != 2 || slices.Contains(have, first) || strings.Contains(fmt.Sprint(have), "a-3") {
		c.t.Fatalf("the range holds %s, want the two of three that are not %s", have, first)
	}
}

func (c *sourceCase) saveBranch(b relay.Branch, durable bool) {
	c.t.Helper()
	if err := c.store.Save(c.within(patience), c.lease, relay.Save{Branches: []relay.Branch{b}, Durable: durable}); err != nil {
		c.t.Fatalf("save: %v", err)
	}
}

// branch is what a new owner hears of the only one.
func (c *sourceCase) branch(topic string) relay.Branch {
	c.t.Helper()
	if len(c.branches) != 1 || c.branches[0].Topic != topic || c.branches[0].Error != "no such topic" {
		c.t.Fatalf("the new owner hears of the branches %+v", c.branches)
	}
	return c.branches[0]
}
