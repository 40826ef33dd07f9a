package waybilltest

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/cloudevents"
	"github.com/waybillhq/waybill/relay"
)

func (c *sinkCase) everyByteArrives() {
	sink := c.open()
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	payloads := [][]byte{all, {}, nil, []byte("\xff\xfe not UTF-8 \x80"), []byte("日本語"), bytes.Repeat([]byte("w"), c.LargestPayload)}
	messages := c.series(0, len(payloads)+2)
	for i, p := range payloads {
		messages[i].Payload = p
	}
	bare := messages[len(payloads)]
	bare.Key, bare.ContentType, bare.Headers = "", "", nil
	rich := messages[len(payloads)+1]
	rich.Key, rich.Type = `key "with" 100 % müller`, "тип"
	rich.Headers = append(rich.Headers, waybill.Header{Name: "tracestate", Value: "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"},
		waybill.Header{Name: "X-Mixed-Case", Value: "grüße, 日本語 100%"}, waybill.Header{Name: "empty", Value: ""})
	c.mustSend(sink, messages...)

	got := map[string]Received{}
	for _, r := range c.received(len(messages)) {
		got[r.ID] = r
	}
	for _, m := range messages {
		r, ok := got[m.ID]
		if !ok {
			c.t.Errorf("%s did not arrive", m.ID)
			continue
		}
		if !bytes.Equal(r.Payload, m.Payload) || (r.Payload == nil) != (m.Payload == nil) {
			c.t.Errorf("%s: payload %.40q (nil: %v), want %.40q (nil: %v)", m.ID, r.Payload, r.Payload == nil, m.Payload, m.Payload == nil)
		}
		is := [...]string{r.Topic, r.Key, r.Type, r.ContentType, r.Time.String(), r.Sequence, c.headers(r.Headers)}
		want := [...]string{m.Topic, m.Key, m.Type, m.ContentType, m.Time.UTC().String(), cloudevents.Sequence(m), c.headers(m.Headers)}
		if is != want {
			c.t.Errorf("%s:\n got %q\nwant %q", m.ID, is, want)
		}
		if r.Source == "" {
			c.t.Errorf("%s has no source", m.ID)
		}
	}
}

func (*sinkCase) headers(list []waybill.Header) string {
	var lines []string
	for _, h := range list {
		lines = append(lines, h.Name+": "+h.Value)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (c *sinkCase) headersArriveInOrder() {
	m := c.message(0)
	for i := range 20 {
		m.Headers = append(m.Headers, waybill.Header{Name: fmt.Sprintf("h%d", i*7%20), Value: fmt.Sprint(i)})
	}
	c.mustSend(c.open(), m)
	if got := c.received(1)[0].Headers; !slices.Equal(got, m.Headers) {
		c.t.Errorf("got %v, want %v", got, m.Headers)
	}
}

func (c *sinkCase) survivesTheBroker() {
	sink := c.open()
	c.mustSend(sink, c.series(0, 500)...)
	c.Kill()
	c.Start()
	c.wantStored(500)
	c.untilUp(sink, c.message(500))
	c.wantStored(501)
}

// wantStored wants messages 0 to n-1, each at least once.
func (c *sinkCase) wantStored(n int) {
	c.t.Helper()
	ids := map[string]bool{}
	for _, r := range c.received(n) {
		ids[r.ID] = true
	}
	for i := range n {
		if id := c.message(i).ID; !ids[id] {
			c.t.Errorf("%s was confirmed and is not stored", id)
		}
	}
}

func (c *sinkCase) confirmsExactlyOnce() {
	sink := c.open()
	c.mustSend(sink, c.series(0, 1000)...)
	c.wantStored(1000)
	if n := len(c.received(1000)); n != 1000 {
		c.t.Errorf("%d are stored", n)
	}
}

func (c *sinkCase) manyGoroutines() {
	sink := c.open()
	var all sync.WaitGroup
	sendings := make([]*sending, 64)
	for g := range sendings {
		ctx := c.within(sinkPatience / 2)
		all.Go(func() { sendings[g] = c.start(ctx, sink, c.series(g*10, g*10+10)...) })
	}
	all.Wait()
	for _, s := range sendings {
		for i, err := range s.wait() {
			if err != nil {
				c.t.Fatalf("message %d: %v", i, err)
			}
		}
	}
	c.wantStored(640)
}

func (c *sinkCase) keepsOrder() {
	sink := c.open()
	for n := range 50 {
		m := c.message(n)
		m.Key = "one"
		c.mustSend(sink, m)
	}
	for n, r := range c.received(50) {
		if r.ID != c.message(n).ID {
			c.t.Fatalf("place %d holds %s", n, r.ID)
		}
	}
}

func (c *sinkCase) nothingAfterTheEnd() {
	sink := c.open()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range c.start(ctx, sink, c.series(0, 10)...).wait() {
		c.wantClass("temporary", err)
	}
	const rounds = 20 // so that the end meets the sink in different places
	confirmed := map[string]bool{}
	for round := range rounds {
		ctx, cancel := context.WithCancel(context.Background())
		messages := c.series(1000*(round+1), 1000*(round+1)+1000)
		timer := time.AfterFunc(time.Duration(round)*500*time.Microsecond, cancel)
		for i, err := range c.start(ctx, sink, messages...).wait() {
			confirmed[messages[i].ID] = err == nil
			if err != nil {
				c.wantClass("temporary", err)
			}
		}
		timer.Stop()
		cancel()
	}
	// Whatever was on its way is stored before a later message that is sent and confirmed; after that nothing may come.
	c.untilUp(sink, c.message(900_000))
	before := c.received(1)
	c.untilUp(sink, c.message(900_001))
	after := c.received(len(before) + 1)
	if len(after) != len(before)+1 {
		c.t.Errorf("%d messages came after the end of their time", len(after)-len(before)-1)
	}
	for _, r := range after {
		if r.ID < c.message(1000).ID {
			c.t.Errorf("%s was given with a context that had ended, and stored", r.ID)
		}
		delete(confirmed, r.ID)
	}
	for id, ok := range confirmed {
		if ok {
			c.t.Errorf("%s was confirmed and is not stored", id)
		}
	}
}

// ordersABatch sends runs of keys as a relay sends them to a relay.OrderedBatch: what was not stored again, in order.
func (c *sinkCase) ordersABatch() {
	sink := c.open()
	if _, ok := sink.(relay.OrderedBatch); !ok {
		c.t.Skip("this sink is no relay.OrderedBatch: it never has two messages of a key")
	}
	messages := c.series(0, 1000)
	bad := map[string]int{"key-3": 3, "key-5": 502, "key-6": 986} // the first of its key, one in the middle, the last but one
	for _, i := range bad {
		c.spoil(messages[i])
	}
	stored := map[string][]string{}
	for round, left := 0, messages; len(left) > 0; round++ {
		if round > len(bad)+1 {
			c.t.Fatalf("%d messages are not stored after %d rounds", len(left), round)
		}
		failed := map[string]bool{}
		var again []*relay.Message
		for i, err := range c.send(sink, left...) {
			m := left[i]
			switch {
			case err == nil && failed[m.Key]:
				c.t.Errorf("round %d: %s was stored behind a failure of its key", round, m.ID)
			case err == nil:
				stored[m.Key] = append(stored[m.Key], m.ID)
			case bad[m.Key] > 0 && m == messages[bad[m.Key]]:
				c.wantClass("rejected", err)
				failed[m.Key] = true
			default:
				if !failed[m.Key] {
					c.t.Errorf("round %d: %s has no failure before it: %v", round, m.ID, err)
				}
				c.wantClass("temporary", err)
				again = append(again, m)
			}
		}
		left = again
	}
	got := map[string][]string{}
	for _, r := range c.received(1000 - len(bad)) {
		got[r.Key] = append(got[r.Key], r.ID)
	}
	for n := range 7 {
		key := c.message(n).Key
		if !slices.Equal(got[key], stored[key]) {
			c.t.Errorf("%s: stored %q\nwant %q", key, got[key], stored[key])
		}
		if !slices.IsSorted(got[key]) {
			c.t.Errorf("%s is out of order: %q", key, got[key])
		}
	}
}

func (c *sinkCase) spoil(m *relay.Message) {
	if c.Spoil == nil {
		m.Payload = make([]byte, 2*c.LargestPayload)
		return
	}
	c.Spoil(m)
}

func (c *sinkCase) rejectsOnlyTheBad() {
	messages := c.series(0, 100)
	for i, m := range messages {
		m.Key = fmt.Sprint("key-", i) // what stands behind a bad one of its own key may have to wait
		if i%10 == 3 {
			c.spoil(m)
		}
	}
	for i, err := range c.send(c.open(), messages...) {
		if i%10 == 3 {
			c.wantClass("rejected", err)
		} else if err != nil {
			c.t.Errorf("neighbour %d: %v", i, err)
		}
	}
	if n := len(c.received(90)); n != 90 {
		c.t.Errorf("%d are stored, want 90", n)
	}
}

func (c *sinkCase) tellsTopics() {
	messages := c.series(0, 100)
	for i := 3; i < 100; i += 10 {
		messages[i].Topic, messages[i].Key = c.MissingTopic, fmt.Sprint("key-", i)
	}
	for i, err := range c.send(c.open(), messages...) {
		if i%10 == 3 {
			c.wantClass("topic", err)
		} else if err != nil {
			c.t.Errorf("neighbour %d: %v", i, err)
		}
	}
}

func (c *sinkCase) outage() {
	sink := c.open()
	c.mustSend(sink, c.message(0))
	c.Kill()
	for n := range 3 {
		for _, err := range c.start(c.within(time.Second), sink, c.series(10*n, 10*n+10)...).wait() {
			c.wantClass("temporary", err)
		}
	}
	fresh := c.open() // one that was made while the broker is down
	c.wantClass("temporary", c.start(c.within(time.Second), fresh, c.message(1)).wait()[0])
	c.Start()
	c.untilUp(sink, c.message(1))
	c.untilUp(fresh, c.message(2))
	c.wantStored(3)
}

func (c *sinkCase) deduplicates() {
	sink := c.open()
	c.mustSend(sink, c.series(0, 10)...)
	c.mustSend(sink, c.series(0, 10)...)
	c.mustSend(sink, c.message(10), c.message(10))
	if n := len(c.received(11)); n != 11 {
		c.t.Errorf("%d are stored, want 11", n)
	}
}

func (c *sinkCase) closeWaits() {
	sink := c.Open(c.t)
	s := c.start(c.within(sinkPatience/2), sink, c.series(0, 1000)...)
	for range 2 {
		if err := sink.Close(); err != nil {
			c.t.Errorf("close: %v", err)
		}
		select {
		case <-s.all:
		default:
			c.t.Fatal("Close returned before all was confirmed")
		}
	}
	for i, err := range s.wait() {
		if err != nil {
			c.t.Fatalf("message %d: %v", i, err)
		}
	}
}

func (c *sinkCase) refusesWhenClosed() {
	sink := c.Open(c.t)
	c.mustSend(sink, c.message(0))
	if err := sink.Close(); err != nil {
		c.t.Errorf("close: %v", err)
	}
	for _, err := range c.send(sink, c.series(1, 11)...) {
		c.wantClass("temporary", err)
	}
}

func (c *sinkCase) leavesNoGoroutine() {
	use := func(n int) {
		sink := c.Open(c.t)
		c.mustSend(sink, c.message(n))
		c.start(c.within(time.Millisecond), sink, c.series(10_000+100*n, 10_100+100*n)...).wait()
		if err := sink.Close(); err != nil {
			c.t.Errorf("close: %v", err)
		}
	}
	use(0) // what the process or the broker's side keeps for good begins here
	before := runtime.NumGoroutine()
	const rounds = 20
	for n := range rounds {
		use(n + 1)
	}
	for ctx := c.within(sinkPatience); runtime.NumGoroutine() >= before+rounds; runtime.Gosched() {
		if ctx.Err() != nil {
			stacks := make([]byte, 1<<20)
			c.t.Fatalf("%d goroutines more after opening and closing %d sinks:\n%s", runtime.NumGoroutine()-before, rounds, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
