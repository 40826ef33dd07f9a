// Package telemetry shows what Waybill does: metrics for Prometheus, spans for OpenTelemetry. It reads, and never changes what
// is relayed; a collector of traces or metrics that hangs holds up nothing.
//
// In the application a [Tracer] makes the message carry the trace of the request:
//
//	outbox, err := waybill.New(waybill.Config{Dialect: dialect.Postgres, Tracer: telemetry.NewTracer(telemetry.TracerConfig{})})
//
// In the relay a [Collector] counts and [Spans] trace:
//
//	metrics := telemetry.NewCollector(telemetry.CollectorConfig{Relay: "orders", Source: "db", Sink: "kafka"})
//	spans := telemetry.NewSpans(telemetry.SpansConfig{Source: "db", System: "kafka"})
//	r, err := relay.New(relay.Config{Name: "orders", ..., Observer: telemetry.Observers(metrics, spans)})
//	metrics.Watch(r.Status)
//	registry.MustRegister(metrics)
//
// docs/metrics.md lists every metric, docs/tracing.md every span.
package telemetry
