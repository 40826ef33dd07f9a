// Package jetstream publishes messages to NATS JetStream: subject = topic, Nats-Msg-Id = message id, CloudEvents 1.0 headers
// in binary mode. A message is confirmed when the stream has acknowledged it; an acknowledgement that says "duplicate"
// counts, for the stream has it.
//
//	sink, err := jetstream.New("nats://localhost:4222", jetstream.Config{Source: "/waybill/orders"})
//
// In the same process as an embedded server:
//
//	sink, err := jetstream.New("", jetstream.Config{Options: []nats.Option{nats.InProcessServer(srv)}})
package jetstream

import (
	"context"
	"sync"

	"github.com/waybillhq/waybill/relay"
)

var (
	_ relay.Sink    = (*Sink)(nil)
	_ relay.Checker = (*Sink)(nil)
)

// Sink is a relay.Sink. It connects when it is first used, and again after a connection broke; it may be used from any
// goroutine.
type Sink struct {
	config  Config
	servers []string

	mu     sync.Mutex
	closed bool
	flight sync.WaitGroup // calls of Publish with a message not yet confirmed

	dialing sync.Mutex
	link    *link // the newest, nil before the first
}

// New returns a sink for one or more servers, separated by commas. It checks config and does not connect: an outage at the
// start is like any other. Use Check to know.
func New(servers string, config Config) (*Sink, error) {
	config, list, err := config.withDefaults(servers)
	if err != nil {
		return nil, err
	}
	return &Sink{config: config, servers: list}, nil
}

// Publish implements relay.Sink.
func (s *Sink) Publish(ctx context.Context, messages []*relay.Message, confirm func(i int, err error)) {
	if len(messages) == 0 {
		return
	}
	err := s.enter()
	var l *link
	if err == nil {
		if l, err = s.connected(ctx, s.config.Create); err != nil {
			s.flight.Done()
		}
	}
	if err != nil {
		for i := range messages {
			confirm(i, err)
		}
		return
	}
	l.publish(ctx, s.config.Source, messages, confirm, s.flight.Done)
}

// Close waits for what is in flight and closes the connection. Closing twice is safe.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.flight.Wait()
	s.dialing.Lock()
	defer s.dialing.Unlock()
	if s.link != nil {
		s.link.nc.Close()
	}
	return nil
}

func (s *Sink) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.flight.Add(1)
	return nil
}

// connected returns a live connection, and with make the stream is there. The relay's back-off paces the attempts.
func (s *Sink) connected(ctx context.Context, make bool) (*link, error) {
	s.dialing.Lock()
	defer s.dialing.Unlock()
	if s.link == nil || s.link.nc.IsClosed() {
		l, err := dial(ctx, s.config, s.servers)
		if err != nil {
			return nil, errConnect(err)
		}
		s.link = l
	}
	if make && !s.link.made {
		if err := create(ctx, s.link.js, s.config); err != nil {
			s.link.nc.Close()
			return nil, errCreate(s.config.Stream, err)
		}
		s.link.made = true
	}
	return s.link, nil
}
