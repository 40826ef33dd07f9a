package waybilltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
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

type readResult struct {
	ids []string
	err error
}

// readAside reads in another goroutine until there are messages or an error.
func (c *sourceCase) readAside(ctx context.Context) <-chan readResult {
	reader, result := c.reader, make(chan readResult, 1)
	go func() {
		for {
			batch, err := reader.Read(ctx, wide)
			if err != nil || len(batch.Messages) > 0 {
				var ids []string
				for _, m := range batch.Messages {
					ids = append(ids, m.ID)
				}
				result <- readResult{ids, err}
				return
			}
		}
	}()
	return result
}

func (c *sourceCase) waits() {
	result := c.readAside(c.within(patience))
	runtime.Gosched()
	c.commit(message("a", "1"))
	if r := <-result; r.err != nil || !slices.Equal(r.ids, []string{"a-1"}) {
		c.t.Fatalf("read %s, %v", r.ids, r.err)
	}
}

func (c *sourceCase) wakes() {
	waker, ok := c.reader.(relay.Waker)
	if !ok {
		c.t.Skip("this reader needs no waking: it is no relay.Waker")
	}
	for i := range 3 {
		result := c.readAside(c.within(patience))
		waker.Wake() // before there is anything
		c.commit(message("a", fmt.Sprint(i)))
		waker.Wake()
		waker.Wake()
		if r := <-result; r.err != nil || !slices.Equal(r.ids, []string{fmt.Sprintf("a-%d", i)}) {
			c.t.Fatalf("read %s, %v", r.ids, r.err)
		}
	}
}

func (c *sourceCase) usable() {
	for i := range 5 {
		ctx, cancel := context.WithCancel(c.t.Context())
		result := c.readAside(ctx)
		runtime.Gosched()
		cancel()
		if r := <-result; !errors.Is(r.err, context.Canceled) {
			c.t.Fatalf("after the end of its context Read returned %s, %v", r.ids, r.err)
		}
		c.commit(message("a", fmt.Sprint(i)))
		c.want(fmt.Sprintf("a-%d", i))
	}
	// A context that ends while there is work must not lose that work.
	for i := range 20 {
		ctx, cancel := context.WithCancel(c.t.Context())
		result := c.readAside(ctx)
		c.commit(message("b", fmt.Sprint(i)))
		cancel()
		switch r := <-result; {
		case errors.Is(r.err, context.Canceled):
			c.want(fmt.Sprintf("b-%d", i))
		case r.err != nil || !slices.Equal(r.ids, []string{fmt.Sprintf("b-%d", i)}):
			c.t.Fatalf("read %s, %v", r.ids, r.err)
		}
	}
}

func (c *sourceCase) posGrows() {
	last := map[string]int64{}
	seen := map[int64]bool{}
	for i := range 20 {
		c.commit(message("a", fmt.Sprint(i)), message("b", fmt.Sprint(i)))
		if i%7 != 0 {
			continue
		}
		c.reopen()
		for _, m := range c.take(2 * min(i+1, 7)) {
			if m.Pos <= last[m.Key] || seen[m.Pos] || m.Incarnation < 1 {
				c.t.Fatalf("%s has pos %d after %d, incarnation %d", m.ID, m.Pos, last[m.Key], m.Incarnation)
			}
			last[m.Key], seen[m.Pos] = m.Pos, true
		}
		c.save(len(c.last), false)
	}
}

func (c *sourceCase) closes() {
	result := c.readAside(c.within(patience))
	runtime.Gosched()
	if err := c.reader.Close(); err != nil {
		c.t.Errorf("close: %v", err)
	}
	if r := <-result; r.err == nil {
		c.t.Errorf("a closed reader returned %s", r.ids)
	} else if errors.Is(r.err, context.DeadlineExceeded) {
		c.t.Error("closing did not end the read")
	}
	if err := c.reader.Close(); err != nil {
		c.t.Errorf("close again: %v", err)
	}
	c.reader = nil
}

func (c *sourceCase) survivesCrash() {
	c.commit(message("a", "1"), message("a", "2"), message("a", "3"))
	c.take(3)
	c.save(1, true)
	c.crash()
	c.want("a-2", "a-3")
	c.commit(message("a", "4"))
	c.want("a-4")
}

func (c *sourceCase) crash() {
	c.t.Helper()
	c.Crash(c.t)
	_ = c.reader.Close() // it may say that its connection is gone
	c.reader = nil
	c.reopen()
}

// readIsDurable reads what a writer has committed but not flushed. Had the crash taken it back, a relay would have made a phantom.
func (c *sourceCase) readIsDurable() {
	var ids []string
	for i := range 3 {
		tx := c.BeginLazy(c.t)
		tx.Publish(message("a", fmt.Sprint(i)))
		tx.Commit()
		ids = append(ids, fmt.Sprintf("a-%d", i))
		c.want(ids[i])
		c.crash()
		c.want(ids...)
	}
}

func (c *sourceCase) leavesNoGoroutine() {
	use := func(i int) {
		c.commit(message("a", fmt.Sprint(i)))
		c.want(fmt.Sprintf("a-%d", i))
		c.save(1, false)
		ctx, cancel := context.WithCancel(c.t.Context())
		result := c.readAside(ctx)
		cancel()
		<-result
		c.reopen()
	}
	c.keep = true
	c.reopen()
	use(0) // what the pools keep for good begins here
	before := runtime.NumGoroutine()
	const rounds = 20
	for i := range rounds {
		use(i + 1)
	}
	leaked(c.t, before, rounds)
}

// leaked fails when each of so many rounds left a goroutine. Other tests may run beside this one, so fewer say nothing.
func leaked(t *testing.T, before, rounds int) {
	t.Helper()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() >= before+rounds; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines more after %d rounds:\n%s", runtime.NumGoroutine()-before, rounds, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
