package waybilltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/cloudevents"
	"github.com/waybillhq/waybill/relay"
)

// Received is a message as a broker stored it.
type Received struct {
	ID, Topic, Key, Type, ContentType string
	Payload                           []byte // nil for a tombstone
	Headers                           []waybill.Header
	Time                              time.Time
	Source, Sequence                  string
}

// Broker is a broker in memory. The zero value takes every message. It needs no real time, so it works in a bubble of
// testing/synctest.
type Broker struct {
	// Topics are the topics there are. Defaults to all.
	Topics []string
	// MaxPayload is the largest payload taken, in bytes. Defaults to no limit.
	MaxPayload int
	// Deduplicate makes the broker drop a message whose ID it has stored before, and confirm it.
	Deduplicate bool

	mu        sync.Mutex
	down      bool
	intercept Intercept
	stored    []Received
	ids       map[string]bool
	changed   chan struct{}
}

// Intercept stands between a sink and the broker for one message: it may wait, store the message by calling store or not,
// and return what is confirmed. A lost acknowledgement is a call of store and an error.
type Intercept func(ctx context.Context, m *relay.Message, store func() error) error

// Intercept puts f before every message from now on; nil takes it away.
func (b *Broker) Intercept(f Intercept) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.intercept = f
}

// Stop makes the broker unreachable; what it has stored stays.
func (b *Broker) Stop() { b.setDown(true) }

// Start ends a Stop.
func (b *Broker) Start() { b.setDown(false) }

func (b *Broker) setDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

// Received waits until at least n messages are stored, or ctx ends, and returns all, oldest first.
func (b *Broker) Received(ctx context.Context, n int) ([]Received, error) {
	for {
		b.mu.Lock()
		stored := slices.Clone(b.stored)
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		if len(stored) >= n {
			return stored, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return stored, fmt.Errorf("waybilltest: %d of %d messages: %w", len(stored), n, ctx.Err())
		}
	}
}

// Sink returns a new sink to the broker.
func (b *Broker) Sink() *MemorySink { return &MemorySink{broker: b} }

func (b *Broker) store(ctx context.Context, m *relay.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("waybilltest: no confirmation in time: %w", context.Cause(ctx))
	case b.down:
		return errors.New("waybilltest: the broker is down. Try: Broker.Start")
	case b.Topics != nil && !slices.Contains(b.Topics, m.Topic):
		return relay.Topic(fmt.Errorf("waybilltest: no topic %q. Try: add it to Broker.Topics", m.Topic))
	case b.MaxPayload > 0 && len(m.Payload) > b.MaxPayload:
		return relay.Rejected(fmt.Errorf("waybilltest: payload of %d bytes exceeds %d. Try: a larger Broker.MaxPayload", len(m.Payload), b.MaxPayload))
	case b.Deduplicate && b.ids[m.ID]:
		return nil
	}
	r := Received{ID: m.ID, Topic: m.Topic, Key: m.Key, Type: m.Type, ContentType: m.ContentType,
		Headers: slices.Clone(m.Headers), Time: m.Time.UTC(), Source: cloudevents.DefaultSource, Sequence: cloudevents.Sequence(m)}
	if m.Payload != nil {
		r.Payload = append([]byte{}, m.Payload...)
	}
	b.stored = append(b.stored, r)
	if b.ids == nil {
		b.ids = map[string]bool{}
	}
	b.ids[m.ID] = true
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	return nil
}

// MemorySink is a relay.Sink to a Broker.
type MemorySink struct {
	broker *Broker
	mu     sync.Mutex
	closed bool
	flight sync.WaitGroup
}

var _ relay.Sink = (*MemorySink)(nil)

// Publish implements relay.Sink. It returns at once; confirmations come from other goroutines.
func (s *MemorySink) Publish(ctx context.Context, messages []*relay.Message, confirm func(i int, err error)) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.flight.Add(1)
	}
	s.mu.Unlock()
	if closed {
		for i := range messages {
			confirm(i, errors.New("waybilltest: the sink is closed. Try: make a new one"))
		}
		return
	}
	s.broker.mu.Lock()
	intercept := s.broker.intercept
	s.broker.mu.Unlock()
	go func() {
		defer s.flight.Done()
		for i, m := range messages {
			if intercept == nil {
				confirm(i, s.broker.store(ctx, m))
				continue
			}
			s.flight.Go(func() { // one that waits must not hold up its neighbours
				confirm(i, intercept(ctx, m, func() error { return s.broker.store(ctx, m) }))
			})
		}
	}()
}

// Close waits for what is in flight.
func (s *MemorySink) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.flight.Wait()
	return nil
}
