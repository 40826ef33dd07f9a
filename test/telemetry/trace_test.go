package telemetry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/telemetry"
)

// receiver is a collector of traces that speaks OTLP over HTTP.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*otlp.Span
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err == nil && request.Header.Get("Content-Encoding") == "gzip" {
			var z *gzip.Reader
			if z, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
				body, err = io.ReadAll(z)
			}
		}
		var export collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil || request.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", request.URL.Path, err)
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, resource := range export.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				r.spans = append(r.spans, scope.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) named(name string) (found []*otlp.Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

func (r *receiver) provider(t *testing.T) *sdk.TracerProvider {
	t.Helper()
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(r.URL+"/v1/traces"))
	if err != nil {
		t.Fatal(err)
	}
	return sdk.NewTracerProvider(sdk.WithBatcher(exporter))
}

// attributes are name=value words.
func attributes(s *otlp.Span) string {
	var words []string
	for _, a := range s.Attributes {
		v := a.Value.GetStringValue()
		if v == "" {
			v = fmt.Sprint(a.Value.GetIntValue())
		}
		words = append(words, a.Key+"="+v)
	}
	return strings.Join(words, " ")
}

func TestOneTraceFromTheRequestToTheBroker(t *testing.T) {
	t.Parallel()
	collector := newReceiver(t)
	application, relayed := collector.provider(t), collector.provider(t) // two processes
	s := newScene(t, waybill.Config{Tracer: telemetry.NewTracer(telemetry.TracerConfig{Provider: application, Source: "/shop"})})

	ctx, request := application.Tracer("shop").Start(t.Context(), "POST /orders", trace.WithSpanKind(trace.SpanKindServer))
	began := time.Now()
	s.publish(ctx, waybill.Message{ID: "m1", Topic: "orders", Type: "order.created", Key: "k"})
	request.End()
	_, stop := s.relay(telemetry.NewSpans(telemetry.SpansConfig{Provider: relayed, Source: "db", System: "kafka", Server: "broker:9092"}), nil)
	got := s.received(1)
	stop()
	for _, p := range []*sdk.TracerProvider{application, relayed} {
		if err := p.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	for _, name := range []string{"POST /orders", "create orders", "send orders", "wait orders"} {
		if n := len(collector.named(name)); n != 1 {
			t.Fatalf("%d spans named %q, want 1 of %v", n, name, collector.spans)
		}
	}
	root, create, send, wait := collector.named("POST /orders")[0], collector.named("create orders")[0], collector.named("send orders")[0], collector.named("wait orders")[0]
	for _, span := range []*otlp.Span{create, wait} {
		if !bytes.Equal(span.TraceId, root.TraceId) {
			t.Errorf("%s is not in the request's trace", span.Name)
		}
	}
	if !bytes.Equal(create.ParentSpanId, root.SpanId) || !bytes.Equal(wait.ParentSpanId, create.SpanId) {
		t.Error("want create below the request and wait below create")
	}
	if create.Kind != otlp.Span_SPAN_KIND_PRODUCER || send.Kind != otlp.Span_SPAN_KIND_CLIENT || wait.Kind != otlp.Span_SPAN_KIND_INTERNAL {
		t.Errorf("kinds %v %v %v", create.Kind, send.Kind, wait.Kind)
	}
	if bytes.Equal(send.TraceId, root.TraceId) || len(send.ParentSpanId) != 0 || len(send.Links) != 1 {
		t.Fatalf("send is not a root of its own with one link: %v", send)
	}
	if link := send.Links[0]; !bytes.Equal(link.TraceId, create.TraceId) || !bytes.Equal(link.SpanId, create.SpanId) || link.Attributes[0].Key != "messaging.message.id" || link.Attributes[0].Value.GetStringValue() != "m1" {
		t.Errorf("send links to %v", link)
	}
	for span, want := range map[*otlp.Span]string{
		create: "messaging.operation.name=create messaging.operation.type=create messaging.system=waybill messaging.destination.name=orders messaging.message.id=m1 " +
			"cloudevents.event_id=m1 cloudevents.event_type=order.created cloudevents.event_spec_version=1.0 cloudevents.event_source=/shop",
		send: "messaging.system=kafka messaging.operation.name=send messaging.operation.type=send server.address=broker server.port=9092 " +
			"messaging.batch.message_count=1 messaging.destination.name=orders messaging.message.id=m1",
		wait: "waybill.source=db waybill.attempts=1",
	} {
		if got := attributes(span); got != want {
			t.Errorf("%s has\n%s, want\n%s", span.Name, got, want)
		}
	}
	// The row is written while Publish runs; SQLite's clock has milliseconds.
	written, acked := time.Unix(0, int64(wait.StartTimeUnixNano)), time.Unix(0, int64(wait.EndTimeUnixNano))
	if written.Before(began.Add(-time.Second)) || written.After(acked) || acked.Before(time.Unix(0, int64(send.StartTimeUnixNano))) {
		t.Errorf("wait lasts from %v to %v", written, acked)
	}
	want := waybill.Header{Name: "traceparent", Value: "00-" + hex.EncodeToString(create.TraceId) + "-" + hex.EncodeToString(create.SpanId) + "-01"}
	if h := got[0].Headers; len(h) != 1 || h[0] != want {
		t.Errorf("the broker got %v, want what create stored: %v", h, want)
	}
}

// record is a provider that keeps its spans.
func record() (*sdk.TracerProvider, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	return sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder)), recorder
}

func ended(recorder *tracetest.SpanRecorder, prefix string) (found []sdk.ReadOnlySpan) {
	for _, s := range recorder.Ended() {
		if strings.HasPrefix(s.Name(), prefix) {
			found = append(found, s)
		}
	}
	return found
}

func words(s sdk.ReadOnlySpan) string {
	var list []string
	for _, a := range s.Attributes() {
		list = append(list, string(a.Key)+"="+a.Value.String())
	}
	return strings.Join(list, " ") + " "
}

const own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestAMessageThatBringsItsContextKeepsIt(t *testing.T) {
	t.Parallel()
	provider, recorder := record()
	s := newScene(t, waybill.Config{Tracer: telemetry.NewTracer(telemetry.TracerConfig{Provider: provider})})
	ctx, request := provider.Tracer("shop").Start(t.Context(), "request")
	s.publish(ctx, waybill.Message{Topic: "orders", Type: "n", Headers: []waybill.Header{{Name: "Traceparent", Value: own}, {Name: "tracestate", Value: "vendor=1"}}})
	request.End()
	_, stop := s.relay(telemetry.NewSpans(telemetry.SpansConfig{Provider: provider, System: "nats"}), nil)
	got := s.received(1)
	stop()
	if h := got[0].Headers; len(h) != 2 || h[0].Value != own || h[1].Value != "vendor=1" {
		t.Errorf("the broker got %v", h)
	}
	if n := len(ended(recorder, "create")); n != 0 {
		t.Errorf("%d create spans", n)
	}
	waits, sends := ended(recorder, "wait orders"), ended(recorder, "publish orders")
	if len(waits) != 1 || len(sends) != 1 || waits[0].Parent().SpanID().String() != "b7ad6b7169203331" || waits[0].Parent().TraceState().String() != "vendor=1" {
		t.Errorf("waits %v, sends %v", waits, sends)
	}
}

func TestOnlySampledMessagesCostSpans(t *testing.T) {
	t.Parallel()
	never := sdk.NewTracerProvider(sdk.WithSampler(sdk.NeverSample()))
	provider, recorder := record()
	s := newScene(t, waybill.Config{Tracer: telemetry.NewTracer(telemetry.TracerConfig{Provider: never})})
	s.publish(t.Context(), waybill.Message{Topic: "orders", Type: "n"}, waybill.Message{Topic: "orders", Type: "n"})
	_, stop := s.relay(telemetry.NewSpans(telemetry.SpansConfig{Provider: provider}), nil)
	got := s.received(2)
	if v := got[0].Headers[0].Value; !strings.HasSuffix(v, "-00") {
		t.Errorf("traceparent %s", v)
	}
	stop()
	if n := len(recorder.Ended()); n != 0 {
		t.Errorf("%d spans for messages that are not sampled", n)
	}
	plain := newScene(t, waybill.Config{})
	plain.publish(t.Context(), waybill.Message{Topic: "orders", Type: "n"})
	_, stop = plain.relay(telemetry.NewSpans(telemetry.SpansConfig{Provider: provider}), nil)
	plain.received(1)
	stop()
	if sends := ended(recorder, "send orders"); len(sends) != 1 || len(sends[0].Links()) != 0 || len(recorder.Ended()) != 1 {
		t.Errorf("a message that nobody traces: %v", recorder.Ended())
	}
}

func TestAFailedSendSaysWhyAndTheWaitCountsIt(t *testing.T) {
	t.Parallel()
	provider, recorder := record()
	s := newScene(t, waybill.Config{})
	var failed atomic.Bool
	s.broker.Intercept(func(_ context.Context, m *relay.Message, store func() error) error {
		if m.ID == "m1" && !failed.Swap(true) {
			return errors.New("waybill: WB2104 the broker is not there, and this is a secret")
		}
		return store()
	})
	headers := []waybill.Header{{Name: "traceparent", Value: own}}
	s.publish(t.Context(), waybill.Message{ID: "m1", Topic: "orders", Type: "n", Headers: headers}, waybill.Message{ID: "m2", Topic: "bills", Type: "n", Headers: headers})
	_, stop := s.relay(telemetry.NewSpans(telemetry.SpansConfig{Provider: provider}), nil)
	s.received(2)
	stop()
	sends := ended(recorder, "send")
	if len(sends) != 2 || sends[0].Name() != "send" || sends[0].Status().Description != "WB2104" || !strings.Contains(words(sends[0]), "error.type=WB2104 ") ||
		!strings.Contains(words(sends[0]), "messaging.batch.message_count=2 ") || strings.Contains(words(sends[0]), "messaging.destination.name") {
		t.Errorf("the call with two topics: %v %v", sends, words(sends[0]))
	}
	if len(sends) == 2 && (sends[1].Name() != "send orders" || strings.Contains(words(sends[1]), "error")) {
		t.Errorf("the second try: %v", words(sends[1]))
	}
	if waits := ended(recorder, "wait orders"); len(waits) != 1 || !strings.Contains(words(waits[0]), "waybill.attempts=2 ") {
		t.Errorf("waits %v", waits)
	}
}

func TestTheLinksOfABigCallAreBounded(t *testing.T) {
	t.Parallel()
	provider, recorder := record()
	s := newScene(t, waybill.Config{Tracer: telemetry.NewTracer(telemetry.TracerConfig{Provider: provider})})
	msgs := make([]waybill.Message, 200)
	for i := range msgs {
		msgs[i] = waybill.Message{Topic: "orders", Type: "n"}
	}
	s.publish(t.Context(), msgs...)
	_, stop := s.relay(telemetry.NewSpans(telemetry.SpansConfig{Provider: provider}), nil)
	s.received(len(msgs))
	stop()
	sends := ended(recorder, "send orders")
	if len(sends) != 1 || len(sends[0].Links()) != 128 || !strings.Contains(words(sends[0]), "messaging.batch.message_count=200 ") || len(ended(recorder, "wait orders")) != 200 {
		t.Errorf("%d sends, the first with %d links; %d waits", len(sends), len(sends[0].Links()), len(ended(recorder, "wait orders")))
	}
}

func TestAPublishThatFailsEndsItsSpanWithTheCode(t *testing.T) {
	t.Parallel()
	provider, recorder := record()
	s := newScene(t, waybill.Config{Tracer: telemetry.NewTracer(telemetry.TracerConfig{Provider: provider})})
	tx, err := s.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tx.Rollback()
	if err := s.outbox.Publish(t.Context(), waybill.SQL(tx), waybill.Message{Topic: "orders", Type: "n"}); err == nil {
		t.Fatal("published in a transaction that is over")
	}
	if spans := ended(recorder, "create orders"); len(spans) != 1 || !strings.Contains(words(spans[0]), "error.type=WB3002 ") {
		t.Errorf("spans %v", spans)
	}
}

// Fault 86.
func TestACollectorThatHangsHoldsUpNothing(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(release) })
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {})) // it says that the collector is gone
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(hanging.URL+"/v1/traces"))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter, sdk.WithMaxQueueSize(16), sdk.WithMaxExportBatchSize(8)))
	s := newScene(t, waybill.Config{Tracer: telemetry.NewTracer(telemetry.TracerConfig{Provider: provider})})
	_, stop := s.relay(telemetry.NewSpans(telemetry.SpansConfig{Provider: provider}), nil)
	for range 10 {
		msgs := make([]waybill.Message, 100)
		for i := range msgs {
			msgs[i] = waybill.Message{Topic: "orders", Type: "n"}
		}
		s.publish(t.Context(), msgs...)
	}
	s.received(1000)
	stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := provider.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
}
