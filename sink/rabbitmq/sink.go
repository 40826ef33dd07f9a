// Package rabbitmq publishes messages to RabbitMQ over AMQP 0-9-1: routing key = topic, CloudEvents 1.0 attributes as
// headers. A message is confirmed when the broker has acknowledged it and had a queue for it: an unroutable message is
// acknowledged too, after it was returned.
//
//	sink, err := rabbitmq.New("amqp://relay:secret@localhost:5672/", rabbitmq.Config{Source: "/waybill/orders"})
//
// Without Config.Exchange a message goes to the queue that has the name of its topic.
package rabbitmq

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
// goroutine. It keeps no order by itself (a refused message does not keep the next one out), so the relay has one message
// of a key under way at a time.
type Sink struct {
	config  Config
	servers []server

	mu     sync.Mutex
	closed bool
	flight sync.WaitGroup // calls of Publish with a message not yet confirmed

	dialing sync.Mutex
	link    *link // the newest, nil before the first
	first   int   // the server to try first
}

// New returns a sink for one or more servers of a cluster, separated by commas. It checks config and does not connect: an
// outage at the start is like any other. Use Check to know.
func New(servers string, config Config) (*Sink, error) {
	config, list, err := config.withDefaults(servers)
	if err != nil {
		return nil, err
	}
	return &Sink{config: config, servers: list}, nil
}

// Publish implements relay.Sink. confirm must not block for long: it holds up the acknowledgements behind it.
func (s *Sink) Publish(ctx context.Context, messages []*relay.Message, confirm func(i int, err error)) {
	if len(messages) == 0 {
		return
	}
	err := s.enter()
	var l *link
	if err == nil {
		if l, err = s.connected(ctx); err != nil {
			s.flight.Done()
		}
	}
	if err != nil {
		for i := range messages {
			confirm(i, err)
		}
		return
	}
	l.publish(ctx, messages, confirm, s.flight.Done)
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
		s.link.close()
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

// connected returns a live connection. The relay's back-off paces the attempts.
func (s *Sink) connected(ctx context.Context) (*link, error) {
	s.dialing.Lock()
	defer s.dialing.Unlock()
	if s.link != nil && !s.link.broken() {
		return s.link, nil
	}
	var err error
	for range s.servers {
		server := s.servers[s.first]
		var l *link
		if l, err = dial(ctx, &s.config, server); err == nil {
			s.link = l
			return l, nil
		}
		err = errConnect(server, err)
		s.first = (s.first + 1) % len(s.servers)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}
