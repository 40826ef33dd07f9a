package telemetry

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/waybillhq/waybill/relay"
)

// maxLinks bounds the links of one span: exporters keep 128 unless told otherwise.
const maxLinks = 128

// SpansConfig says what a relay's spans tell. The zero value works.
type SpansConfig struct {
	// Provider makes the spans. Defaults to the process's.
	Provider trace.TracerProvider
	// Server is the broker's address, as host or host:port. Defaults to none.
	Server string
	// Source is the source's name. Defaults to none.
	Source string
	// System is the attribute messaging.system: kafka, rabbitmq, nats, servicebus, ... Defaults to "waybill".
	System string
}

// Spans is a relay.Observer that makes a span "send <topic>" for each call of the sink, linked to the creation context of its
// messages, and a span "wait <topic>" in the trace of each sampled message: from the writing of its row to the broker's
// confirmation. A call whose messages were all traced and none sampled makes no span.
type Spans struct {
	tracer    trace.Tracer
	operation string
	send      []attribute.KeyValue
	source    attribute.KeyValue
	failures  failures
}

var _ relay.Observer = (*Spans)(nil)

// NewSpans returns the spans of one relay.
func NewSpans(cfg SpansConfig) *Spans {
	s := &Spans{tracer: newTracer(cfg.Provider), operation: "send", source: attribute.String("waybill.source", cfg.Source)}
	switch cfg.System {
	case "rabbitmq", "nats": // their own word for it
		s.operation = "publish"
	case "":
		cfg.System = "waybill"
	}
	s.send = []attribute.KeyValue{
		attribute.String("messaging.system", cfg.System),
		attribute.String("messaging.operation.name", s.operation),
		attribute.String("messaging.operation.type", "send"),
	}
	host, port, err := net.SplitHostPort(cfg.Server)
	if err != nil {
		host = cfg.Server
	}
	if host != "" {
		s.send = append(s.send, attribute.String("server.address", host))
	}
	if n, err := strconv.Atoi(port); err == nil {
		s.send = append(s.send, attribute.Int("server.port", n))
	}
	return s
}

// Send implements relay.Observer.
func (s *Spans) Send(ctx context.Context, messages []*relay.Message) (context.Context, func(i int, err error)) {
	sampled, traced := creations(messages)
	if len(sampled) == 0 && traced {
		return ctx, func(int, error) {}
	}
	ctx, span := s.start(ctx, messages, sampled)
	var left atomic.Int32
	left.Store(int32(len(messages)))
	var failed sync.Once
	return ctx, func(i int, err error) {
		if parent, ok := sampled[i]; ok {
			s.wait(messages[i], parent, err)
		}
		if err != nil {
			failed.Do(func() { fail(span, err) })
		}
		if left.Add(-1) == 0 {
			span.End()
		}
	}
}

func (s *Spans) start(ctx context.Context, messages []*relay.Message, sampled map[int]trace.SpanContext) (context.Context, trace.Span) {
	attributes := append(s.send[:len(s.send):len(s.send)], attribute.Int("messaging.batch.message_count", len(messages)))
	name := s.operation
	if topic := messages[0].Topic; oneTopic(messages) {
		name += " " + topic
		attributes = append(attributes, attribute.String("messaging.destination.name", topic))
	}
	if len(messages) == 1 {
		attributes = append(attributes, attribute.String("messaging.message.id", messages[0].ID))
	}
	var links []trace.Link
	for i := 0; i < len(messages) && len(links) < maxLinks; i++ {
		if parent, ok := sampled[i]; ok {
			links = append(links, trace.Link{SpanContext: parent, Attributes: []attribute.KeyValue{attribute.String("messaging.message.id", messages[i].ID)}})
		}
	}
	// A new root: the relay's own context may live in a trace, which must not get every message there will ever be.
	return s.tracer.Start(ctx, name, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...), trace.WithLinks(links...))
}

// wait shows in the message's own trace how long it took to the broker.
func (s *Spans) wait(m *relay.Message, parent trace.SpanContext, err error) {
	if err != nil {
		s.failures.add(m.ID)
		return
	}
	attempts := 1 + s.failures.take(m.ID)
	now := time.Now()
	if m.CreatedAt.IsZero() {
		return
	}
	begin := m.CreatedAt
	if begin.After(now) { // the two clocks differ
		begin = now
	}
	_, span := s.tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), parent), "wait "+m.Topic,
		trace.WithTimestamp(begin), trace.WithAttributes(s.source, attribute.Int("waybill.attempts", attempts)))
	span.End(trace.WithTimestamp(now))
}

func oneTopic(messages []*relay.Message) bool {
	for _, m := range messages[1:] {
		if m.Topic != messages[0].Topic {
			return false
		}
	}
	return true
}
