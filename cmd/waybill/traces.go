package main

import (
	"context"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/telemetry"
)

// flushTime bounds what a collector that does not answer may add to a stop.
const flushTime = 2 * time.Second

// traces exports spans by OTLP over HTTP when the standard environment names a collector; without one, provider is nil.
// Spans wait in a bounded queue and are dropped when it is full: a collector that hangs holds up nothing.
func (a *app) traces(ctx context.Context) (provider trace.TracerProvider, flush func()) {
	off := func(why string) (trace.TracerProvider, func()) {
		a.log.Warn("WB4614 traces are not exported: " + why + ". Try: docs/tracing.md")
		return nil, func() {}
	}
	either := func(name string) string {
		if v := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_" + name); v != "" {
			return v
		}
		return os.Getenv("OTEL_EXPORTER_OTLP_" + name)
	}
	if either("ENDPOINT") == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, func() {}
	}
	if protocol := either("PROTOCOL"); protocol != "" && !strings.HasPrefix(protocol, "http/") {
		return off("OTEL_EXPORTER_OTLP_PROTOCOL is " + protocol + ", and only http/protobuf is spoken here")
	}
	var told atomic.Int64 // the second of the last complaint
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		if now, last := time.Now().Unix(), told.Load(); now-last >= 60 && told.CompareAndSwap(last, now) {
			a.log.Warn("traces are lost; the relays go on", "error", err)
		}
	}))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return off(err.Error())
	}
	describe, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "waybill"), attribute.String("service.version", buildVersion().Version)), resource.WithFromEnv())
	if err != nil {
		a.log.Warn("OTEL_RESOURCE_ATTRIBUTES cannot be read in full", "error", err)
	}
	sdk := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(describe))
	return sdk, func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTime)
		defer cancel()
		if err := sdk.Shutdown(ctx); err != nil {
			a.log.Warn("the last traces are lost", "error", err)
		}
	}
}

// observer is what a relay tells of its sends: the metrics, and spans when there is a provider.
func observer(metrics *telemetry.Collector, traces trace.TracerProvider, source string, sink config.Sink) relay.Observer {
	if traces == nil {
		return metrics
	}
	system, server := messaging(sink.URL.Reveal())
	return telemetry.Observers(metrics, telemetry.NewSpans(telemetry.SpansConfig{Provider: traces, Source: source, System: system, Server: server}))
}

// messaging names the kind of broker as OpenTelemetry does, and its first address.
func messaging(text string) (system, server string) {
	first, _, _ := strings.Cut(text, ",")
	scheme, _, _ := strings.Cut(first, ":")
	switch system, _, _ = strings.Cut(scheme, "+"); system {
	case "tls":
		system = "nats"
	case "amqp", "amqps":
		system = "rabbitmq"
	}
	if u, err := url.Parse(first); err == nil {
		server = u.Host
	}
	return system, server
}
