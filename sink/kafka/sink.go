// Package kafka publishes messages to Apache Kafka: record key = message key, CloudEvents 1.0 headers in binary mode, null
// value for a tombstone. A message is confirmed when all in-sync replicas have it (acks=all, idempotent).
//
//	sink, err := kafka.New("broker-1:9092,broker-2:9092", kafka.Config{Source: "/waybill/orders"})
//
// franz-go connects, proves who we are and routes; its producer is not used. That one keeps a record it was given until it
// knows what became of it, beyond the time that Publish has, and lets a record pass one before it that was refused. Here
// each partition has one batch under way: what is behind it waits until that batch is stored, or fails with it.
package kafka

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybillhq/waybill/relay"
)

var (
	_ relay.Sink         = (*Sink)(nil)
	_ relay.OrderedBatch = (*Sink)(nil)
	_ relay.Fencer       = (*Sink)(nil)
	_ relay.Checker      = (*Sink)(nil)
)

// Sink is a relay.Sink. It connects when it is first used; it may be used from any goroutine.
type Sink struct {
	config  Config
	client  *kgo.Client
	trouble atomic.Pointer[error] // the newest reason why something had to wait, for the error at the end of its time

	ctx        context.Context // ends in Close, when nothing is in flight
	cancel     context.CancelFunc
	flight     sync.WaitGroup // calls of Publish with a message not yet confirmed
	background sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	topics     map[string]*topic
	leaders    map[int32]*leader
	stale      map[*topic]bool // to be looked up by refresh
	refreshing bool
	fence      *fence // nil without Config.TransactionalID
}

// New returns a sink for a cluster that is reached through one or more brokers, host:port separated by commas. It checks
// config and does not connect: an outage at the start is like any other. Use Check to know.
func New(brokers string, config Config) (*Sink, error) {
	config, seeds, err := config.withDefaults(brokers)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(config.options(seeds)...)
	if err != nil {
		return nil, errConfig(err)
	}
	s := &Sink{config: config, client: client, topics: map[string]*topic{}, leaders: map[int32]*leader{}, stale: map[*topic]bool{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if config.TransactionalID != "" {
		s.fence = &fence{sink: s, tenure: 1}
	}
	return s, nil
}

// OrderedBatch implements relay.OrderedBatch.
func (s *Sink) OrderedBatch() {}

// Publish implements relay.Sink.
func (s *Sink) Publish(ctx context.Context, messages []*relay.Message, confirm func(i int, err error)) {
	if len(messages) == 0 {
		return
	}
	if err := s.enter(); err != nil {
		for i := range messages {
			confirm(i, err)
		}
		return
	}
	c := newCall(ctx, s, len(messages), confirm)
	if ctx.Err() == nil { // else the call is over already
		c.give(messages)
	}
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

// Close waits for what is in flight and closes the connections. Closing twice is safe.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.flight.Wait()
	s.cancel()
	s.background.Wait()
	s.client.Close()
	return nil
}

// Fence implements relay.Fencer; it has no effect without Config.TransactionalID.
func (s *Sink) Fence(int64) {
	if s.fence != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fence.tenure++
		s.fence.lost = nil
	}
}
