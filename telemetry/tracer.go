package telemetry

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/waybillhq/waybill"
)

const scope = "github.com/waybillhq/waybill/telemetry"

// TracerConfig says how messages are traced where they are published. The zero value works.
type TracerConfig struct {
	// Propagator writes the trace context into the headers. Defaults to traceparent and tracestate, whatever the process uses
	// elsewhere, because the relay reads these. With baggage in it, the baggage is stored and sent, too.
	Propagator propagation.TextMapPropagator
	// Provider makes the spans. Defaults to the process's.
	Provider trace.TracerProvider
	// Source is the attribute cloudevents.event_source. Defaults to none.
	Source string
	// System is the attribute messaging.system. Defaults to "waybill"; set it to the broker's name if you like it better.
	System string
}

// Tracer makes a span "create <topic>" for each message, inside Publish, and stores its context in the message's headers.
// A message that brings a context of its own keeps it and gets no span.
type Tracer struct {
	cfg    TracerConfig
	tracer trace.Tracer
}

var _ waybill.Tracer = (*Tracer)(nil)

// NewTracer returns a tracer for waybill.Config.
func NewTracer(cfg TracerConfig) *Tracer {
	if cfg.Propagator == nil {
		cfg.Propagator = propagation.TraceContext{}
	}
	if cfg.System == "" {
		cfg.System = "waybill"
	}
	return &Tracer{cfg, newTracer(cfg.Provider)}
}

func newTracer(p trace.TracerProvider) trace.Tracer {
	if p == nil {
		p = otel.GetTracerProvider()
	}
	return p.Tracer(scope)
}

// Create implements waybill.Tracer.
func (t *Tracer) Create(ctx context.Context, m *waybill.Message) (end func(err error)) {
	carrier := carrier{m}
	for _, name := range t.cfg.Propagator.Fields() {
		if carrier.Get(name) != "" {
			return func(error) {}
		}
	}
	ctx, span := t.tracer.Start(ctx, "create "+m.Topic, trace.WithSpanKind(trace.SpanKindProducer))
	t.cfg.Propagator.Inject(ctx, carrier)
	if !span.IsRecording() {
		return func(error) {}
	}
	span.SetAttributes(
		attribute.String("messaging.operation.name", "create"),
		attribute.String("messaging.operation.type", "create"),
		attribute.String("messaging.system", t.cfg.System),
		attribute.String("messaging.destination.name", m.Topic),
		attribute.String("messaging.message.id", m.ID),
		attribute.String("cloudevents.event_id", m.ID),
		attribute.String("cloudevents.event_type", m.Type),
		attribute.String("cloudevents.event_spec_version", "1.0"),
	)
	if t.cfg.Source != "" {
		span.SetAttributes(attribute.String("cloudevents.event_source", t.cfg.Source))
	}
	return func(err error) {
		fail(span, err)
		span.End()
	}
}

// fail marks a span with the code of err. Its text stays out: it is for the log, and may name what traces must not.
func fail(span trace.Span, err error) {
	if err == nil {
		return
	}
	kind := errorType(err)
	span.SetStatus(codes.Error, kind)
	span.SetAttributes(attribute.String("error.type", kind))
}

// carrier lets a propagator read and append headers.
type carrier struct{ m *waybill.Message }

func (c carrier) Get(name string) string {
	for _, h := range c.m.Headers {
		if len(h.Name) == len(name) && strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

func (c carrier) Set(name, value string) {
	c.m.Headers = append(c.m.Headers, waybill.Header{Name: name, Value: value})
}

func (c carrier) Keys() []string {
	names := make([]string, len(c.m.Headers))
	for i, h := range c.m.Headers {
		names[i] = h.Name
	}
	return names
}
