package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// NewSink makes a [Sink] of a func that publishes one message and returns what became of it, as confirm of [Sink] is told. At most
// so many calls of it run at once, and none for two messages of one key. It must have given up when its ctx ends.
func NewSink(atOnce int, publish func(ctx context.Context, m *Message) error) Sink {
	return &each{publish: publish, turns: make(chan struct{}, max(atOnce, 1))}
}

type each struct {
	publish func(context.Context, *Message) error
	turns   chan struct{}

	mu     sync.Mutex
	closed bool
	flight sync.WaitGroup
}

func (s *each) Publish(ctx context.Context, messages []*Message, confirm func(i int, err error)) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.flight.Add(1)
		defer s.flight.Done()
	}
	s.mu.Unlock()
	for i, m := range messages {
		if closed {
			confirm(i, errors.New("waybill: WB2005 the sink is closed. Try: make a new one"))
			continue
		}
		select {
		case s.turns <- struct{}{}:
			s.flight.Go(func() {
				defer func() { <-s.turns }()
				confirm(i, s.one(ctx, m))
			})
		case <-ctx.Done():
			confirm(i, context.Cause(ctx))
		}
	}
}

func (s *each) one(ctx context.Context, m *Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("waybill: WB2001 the sink panicked: %v", p)
		}
	}()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.publish(ctx, m)
}

func (s *each) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.flight.Wait()
	return nil
}
