package waybilltest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
)

func (c *sourceCase) rolledBack() {
	c.commit(message("a", "1"))
	tx := c.Begin(c.t)
	tx.Publish(message("a", "2"), message("b", "1"))
	tx.Rollback()
	c.commit(message("a", "3"))
	c.want("a-1", "a-3")
	c.reopen()
	c.want("a-1", "a-3")
}

func (c *sourceCase) savepoint() {
	tx := c.Begin(c.t)
	tx.Publish(message("a", "1"))
	tx.(Savepointer).Savepoint()
	tx.Publish(message("a", "2"))
	tx.(Savepointer).RollbackTo()
	tx.Publish(message("a", "3"))
	tx.Commit()
	c.want("a-1", "a-3")
}

func (c *sourceCase) open() {
	tx := c.Begin(c.t)
	tx.Publish(message("a", "1"))
	c.commit(message("b", "1"))
	c.want("b-1")
	tx.Commit()
	c.want("a-1")
}

func (c *sourceCase) commitOrder() {
	var ids []string
	for i := range 30 {
		key := string(rune('a' + i%3))
		c.commit(message(key, fmt.Sprint(i)), message("z", fmt.Sprint(i)))
		ids = append(ids, fmt.Sprintf("%s-%d", key, i), fmt.Sprintf("z-%d", i))
	}
	c.want(ids...)
}

func (c *sourceCase) besideOpen() {
	long := c.Begin(c.t)
	long.Publish(message("l", "1"))
	for i := range 3 {
		c.commit(message("s", fmt.Sprint(i)))
	}
	c.want("s-0", "s-1", "s-2") // not held up
	c.save(3, true)
	long.Publish(message("l", "2"))
	c.commit(message("s", "3"))
	c.want("s-3")
	long.Commit() // older than the saved cursor
	c.commit(message("l", "3"))
	c.want("l-1", "l-2", "l-3")
	c.reopen()
	c.want("s-3", "l-1", "l-2", "l-3")
}

// beganFirst is what an order by transaction number inverts.
func (c *sourceCase) beganFirst() {
	for _, readBetween := range []bool{false, true} {
		first := c.Begin(c.t)
		first.Publish(message("x", "1")) // has its transaction number
		c.commit(message("k", "1"))
		want := []string{"x-1", "k-1", "k-2"}
		if readBetween {
			c.want("k-1")
			want = []string{"x-1", "k-2"}
		}
		first.Publish(message("k", "2"))
		first.Commit()
		c.want(want...)
		c.save(len(want), true)
	}
}

func (c *sourceCase) comesAgain() {
	c.commit(message("a", "1"), message("a", "2"), message("", "3"))
	c.take(3)
	for _, c.keep = range []bool{false, true, true} {
		c.reopen()
		have := texts(c.take(3))
		slices.Sort(have)
		if want := []string{"-3", "a-1", "a-2"}; !slices.Equal(have, want) {
			c.t.Fatalf("read %s, want %s", have, want)
		}
	}
}

func (c *sourceCase) neverAgain() {
	for i := range 6 { // some in one transaction, some not
		c.commit(message("a", fmt.Sprint(2*i)), message("a", fmt.Sprint(2*i+1)))
	}
	c.take(12)
	c.save(5, false) // in the middle
	c.commit(message("a", "new"))
	c.reopen()
	c.want("a-5", "a-6", "a-7", "a-8", "a-9", "a-10", "a-11", "a-new")
	c.save(8, true) // at the end
	c.reopen()
	c.commit(message("a", "newer"))
	c.want("a-newer")
}

func (c *sourceCase) countsWhenSaved() {
	c.commit(message("a", "1"), message("a", "2"), message("a", "3"))
	list := c.take(3)
	for _, m := range list {
		m.behind()
	}
	c.save(1, false)
	list[2].behind()
	c.reopen()
	c.want("a-2", "a-3")
}

// savesBeside saves what was read while the next read is under way, as a relay does.
func (c *sourceCase) savesBeside() {
	const count = 300
	type result struct {
		batch relay.Batch
		err   error
	}
	ctx, reader, results := c.within(patience), c.reader, make(chan result, count+1)
	go func() {
		for n := 0; n < count; {
			batch, err := reader.Read(ctx, relay.Budget{Messages: 7, Bytes: 1 << 20})
			n += len(batch.Messages)
			results <- result{batch, err}
			if err != nil {
				return
			}
		}
	}()
	next := 0
	receive := func(r result) {
		if r.err != nil {
			c.t.Fatalf("read: %v", r.err)
		}
		save := relay.Save{Position: r.batch.Position(len(r.batch.Messages))}
		for i := range r.batch.Messages {
			m := &r.batch.Messages[i]
			if m.ID != fmt.Sprintf("a-%d", next) {
				c.t.Fatalf("read %s, want a-%d", m.ID, next)
			}
			next++
			save.Published = append(save.Published, m)
		}
		if err := c.store.Save(ctx, c.lease, save); err != nil {
			c.t.Fatalf("save: %v", err)
		}
	}
	for i := range count {
		c.commit(message("a", fmt.Sprint(i)))
		select {
		case r := <-results:
			receive(r)
		default:
		}
	}
	for next < count {
		receive(<-results)
	}
}

func (c *sourceCase) budgetMessages() {
	const count = 10
	for i := range count {
		c.commit(message("a", fmt.Sprint(i)))
	}
	var all []string
	for len(all) < count {
		batch := c.read(relay.Budget{Messages: 3, Bytes: 1 << 20})
		if len(batch) > 3 {
			c.t.Fatalf("a batch of %d messages, want at most 3", len(batch))
		}
		all = append(all, texts(batch)...)
	}
	for i, id := range all {
		if id != fmt.Sprintf("a-%d", i) {
			c.t.Fatalf("read %s", all)
		}
	}
}

func (c *sourceCase) budgetBytes() {
	tx := c.Begin(c.t)
	for i := range 6 {
		m := message("a", fmt.Sprint(i))
		m.Payload = make([]byte, 10_000)
		tx.Publish(m)
	}
	tx.Commit()
	var all []string
	for bytes, most := 1, 1; len(all) < 6; bytes, most = 15_000, 2 { // the first message fits in any case
		batch := c.read(relay.Budget{Messages: 100, Bytes: bytes})
		if len(batch) > most {
			c.t.Fatalf("%d messages of 10,000 bytes for a budget of %d bytes", len(batch), bytes)
		}
		all = append(all, texts(batch)...)
	}
	if want := []string{"a-0", "a-1", "a-2", "a-3", "a-4", "a-5"}; !slices.Equal(all, want) {
		c.t.Fatalf("read %s, want %s", all, want)
	}
}

func (c *sourceCase) survives() {
	big := make([]byte, 900<<10)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(big) // it never fails
	at := time.Date(2001, 2, 3, 4, 5, 6, 789_012_000, time.FixedZone("east", 5*3600))
	sent := []waybill.Message{
		{ID: "a-1", Topic: "t", Key: "a", Type: "y", Payload: nil},
		{ID: "a-2", Topic: "t", Key: "a", Type: "y", Payload: []byte{}},
		{ID: "a-3", Topic: "t", Key: "a", Type: "y", Payload: []byte{0, 0xFF, 0xFE, '\'', '"', '\\', 0}, ContentType: "application/octet-stream"},
		{ID: "a-4", Topic: "orders.eu-1_x", Key: "a", Type: "order.created/v2", Payload: []byte("{}"), ContentType: "application/json; charset=UTF-8", Time: at,
			Headers: []waybill.Header{{Name: "z", Value: ""}, {Name: "a", Value: `quoted "text", back\slash, 漢字 🎉`}, {Name: "m", Value: "{[,]}"}}},
		{ID: "a-5", Topic: "t", Key: "a", Type: "y", Payload: big},
	}
	before := time.Now()
	c.commit(sent...)
	c.commit(waybill.Message{ID: "unicode", Topic: "t", Key: `ключ "k" \ {a,b} 🎉`, Type: "y", Payload: []byte("x")})
	have := c.take(6)
	slices.SortFunc(have, func(a, b got) int { return strings.Compare(a.ID, b.ID) })
	for i, want := range sent {
		m := have[i]
		if want.Time.IsZero() { // by the database's clock
			if off := m.Time.Sub(before); off < -time.Hour || off > time.Hour {
				c.t.Errorf("%s has time %v", m.ID, m.Time)
			}
			m.Time = time.Time{}
		}
		if !m.Time.Equal(want.Time) || m.ID != want.ID || m.Topic != want.Topic || m.Key != want.Key || m.Type != want.Type ||
			m.ContentType != want.ContentType || !slices.Equal(m.Headers, want.Headers) {
			c.t.Errorf("read %.300v, want %.300v", m, want)
		}
		if !bytes.Equal(m.Payload, want.Payload) || (m.Payload == nil) != (want.Payload == nil) {
			c.t.Errorf("the payload of %s differs: %d bytes (nil %t)", m.ID, len(m.Payload), m.Payload == nil)
		}
	}
	if key := have[5].Key; key != `ключ "k" \ {a,b} 🎉` {
		c.t.Errorf("the key became %q", key)
	}
}

func (c *sourceCase) large() {
	const count = 5000
	tx := c.Begin(c.t)
	ids := make([]string, count)
	list := make([]waybill.Message, count)
	for i := range count {
		list[i] = message(string(rune('a'+i%7)), fmt.Sprint(i))
		ids[i] = list[i].ID
	}
	tx.Publish(list...)
	tx.Commit()
	c.want(ids...)
	c.save(count/2, true)
	c.reopen()
	c.want(ids[count/2:]...)
}
