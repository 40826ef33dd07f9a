package waybilltest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
)

// sinkPatience bounds every wait of a suite: longer than anything healthy takes on a loaded machine.
const sinkPatience = 60 * time.Second

// SinkAbility is something that not every broker can do.
type SinkAbility string

// The abilities.
const (
	Restart       SinkAbility = "restart"        // the harness can kill the broker and start it again
	Deduplication SinkAbility = "deduplication"  // the broker drops a message whose ID it has
	HeaderOrder   SinkAbility = "header order"   // headers arrive in the order they were given
	MissingTopics SinkAbility = "missing topics" // the broker says that a topic is missing
)

// SinkHarness is one empty broker, or a corner of one, for one case of the suite.
type SinkHarness struct {
	// Open returns a new sink to the broker. The suite closes it.
	Open func(t *testing.T) relay.Sink
	// Topic exists. MissingTopic does not.
	Topic, MissingTopic string
	// Received waits until the broker has stored at least n messages of Topic, or ctx ends, and returns all, oldest first,
	// as a consumer sees them that shares no code with the sink.
	Received func(ctx context.Context, n int) ([]Received, error)
	// Kill ends the broker as kill -9 does. Start starts it again with the data it has and at the same address.
	Kill, Start func()
	// LargestPayload, in bytes, is taken together with the suite's usual attributes.
	LargestPayload int
	// Spoil makes a message one that the broker can never take, and leaves its key. Defaults to a payload that is twice
	// LargestPayload.
	Spoil func(m *relay.Message)
	// Lacks names what this broker cannot do, and why. The suite skips those cases by name.
	Lacks map[SinkAbility]string
}

// TestSink shows that a sink keeps the contract of relay.Sink with a real broker. newHarness is called once a case.
func TestSink(t *testing.T, newHarness func(t *testing.T) SinkHarness) {
	cases := []struct {
		name  string
		needs SinkAbility
		run   func(*sinkCase)
	}{
		{"every byte of a message arrives", "", (*sinkCase).everyByteArrives},
		{"headers arrive in order", HeaderOrder, (*sinkCase).headersArriveInOrder},
		{"a nil error means that the message survives the broker", Restart, (*sinkCase).survivesTheBroker},
		{"a thousand messages in one batch are confirmed exactly once", "", (*sinkCase).confirmsExactlyOnce},
		{"many goroutines may publish at once", "", (*sinkCase).manyGoroutines},
		{"a key keeps its order when it is sent one message at a time", "", (*sinkCase).keepsOrder},
		{"a batch keeps the order of each key, and stores nothing behind a failure", "", (*sinkCase).ordersABatch},
		{"nothing is written after the end of its time", "", (*sinkCase).nothingAfterTheEnd},
		{"a message that cannot be stored does not harm its neighbours", "", (*sinkCase).rejectsOnlyTheBad},
		{"a missing topic does not harm other topics", MissingTopics, (*sinkCase).tellsTopics},
		{"a broker that is down is an outage and comes back", Restart, (*sinkCase).outage},
		{"the same id twice is confirmed twice and stored once", Deduplication, (*sinkCase).deduplicates},
		{"closing waits for what is in flight and may be done twice", "", (*sinkCase).closeWaits},
		{"a closed sink refuses", "", (*sinkCase).refusesWhenClosed},
		{"no goroutine is left behind", "", (*sinkCase).leavesNoGoroutine},
	}
	for _, of := range cases {
		t.Run(of.name, func(t *testing.T) {
			c := &sinkCase{SinkHarness: newHarness(t), t: t}
			if why, lacks := c.Lacks[of.needs]; lacks {
				t.Skipf("this broker has no %s: %s", of.needs, why)
			}
			t.Cleanup(c.checkCounts) // runs last, when every sink is closed
			of.run(c)
		})
	}
}

// sinkCase is one run of one case.
type sinkCase struct {
	SinkHarness
	t *testing.T

	mu       sync.Mutex
	sendings []*sending
}

func (c *sinkCase) checkCounts() {
	for _, s := range c.sendings {
		s.mu.Lock()
		for i, n := range s.count {
			if n != 1 {
				c.t.Errorf("message %d of %d was confirmed %d times", i, len(s.count), n)
			}
		}
		s.mu.Unlock()
	}
}

// message returns the nth of a series of messages, all different.
func (c *sinkCase) message(n int) *relay.Message {
	return &relay.Message{Pos: int64(n + 1), Incarnation: 1760000000000, Message: waybill.Message{
		ID: fmt.Sprintf("message-%06d", n), Topic: c.Topic, Key: fmt.Sprintf("key-%d", n%7), Type: "thing.happened",
		Payload: fmt.Appendf(nil, `{"n":%d}`, n), ContentType: "application/json",
		Headers: []waybill.Header{{Name: "traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
		Time:    time.Date(2026, 3, 1, 12, 0, 0, n, time.UTC),
	}}
}

func (c *sinkCase) series(from, to int) (list []*relay.Message) {
	for n := from; n < to; n++ {
		list = append(list, c.message(n))
	}
	return list
}

func (c *sinkCase) open() relay.Sink {
	c.t.Helper()
	sink := c.Open(c.t)
	c.t.Cleanup(func() {
		if err := sink.Close(); err != nil {
			c.t.Errorf("close: %v", err)
		}
	})
	return sink
}

func (c *sinkCase) within(d time.Duration) context.Context {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	c.t.Cleanup(cancel)
	return ctx
}

// sending is one Publish and its confirmations.
type sending struct {
	t      *testing.T
	all    chan struct{}
	mu     sync.Mutex
	count  []int
	errors []error
	open   int
}

func (c *sinkCase) start(ctx context.Context, sink relay.Sink, messages ...*relay.Message) *sending {
	c.t.Helper()
	s := &sending{t: c.t, all: make(chan struct{}), count: make([]int, len(messages)), errors: make([]error, len(messages)), open: len(messages)}
	c.mu.Lock()
	c.sendings = append(c.sendings, s)
	c.mu.Unlock()
	sink.Publish(ctx, messages, func(i int, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.count[i]++
		s.errors[i] = err
		if s.count[i] == 1 {
			if s.open--; s.open == 0 {
				close(s.all)
			}
		}
	})
	return s
}

// wait returns what became of each message.
func (s *sending) wait() []error {
	s.t.Helper()
	select {
	case <-s.all:
		return s.errors
	case <-time.After(sinkPatience):
		s.t.Fatalf("%d of %d messages are not confirmed after %v", s.open, len(s.count), sinkPatience)
		return nil
	}
}

func (c *sinkCase) send(sink relay.Sink, messages ...*relay.Message) []error {
	c.t.Helper()
	return c.start(c.within(sinkPatience/2), sink, messages...).wait()
}

func (c *sinkCase) mustSend(sink relay.Sink, messages ...*relay.Message) {
	c.t.Helper()
	for i, err := range c.send(sink, messages...) {
		if err != nil {
			c.t.Fatalf("message %d of %d: %v", i, len(messages), err)
		}
	}
}

// untilUp sends m until it is confirmed, as a relay does.
func (c *sinkCase) untilUp(sink relay.Sink, m *relay.Message) {
	c.t.Helper()
	for ctx := c.within(sinkPatience); ; {
		err := c.start(c.within(2*time.Second), sink, m).wait()[0]
		if err == nil {
			return
		}
		c.wantClass("temporary", err)
		select {
		case <-ctx.Done():
			c.t.Fatalf("the broker does not come back: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *sinkCase) received(n int) []Received {
	c.t.Helper()
	list, err := c.SinkHarness.Received(c.within(sinkPatience), n)
	if err != nil {
		c.t.Fatalf("read %d messages from the broker: %v", n, err)
	}
	return list
}

func (c *sinkCase) wantClass(want string, err error) {
	c.t.Helper()
	got := "temporary"
	switch {
	case err == nil:
		got = "confirmed"
	case relay.IsRejected(err):
		got = "rejected"
	case relay.IsTopic(err):
		got = "topic"
	}
	if got != want {
		c.t.Fatalf("got %s (%v), want %s", got, err, want)
	}
}
