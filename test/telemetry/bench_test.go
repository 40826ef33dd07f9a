package telemetry_test

import (
	"strconv"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/telemetry"
)

// BenchmarkObserver is one call of 100 messages; ns/msg is what counts.
func BenchmarkObserver(b *testing.B) {
	metrics, _ := newCollector(nil)
	spans := telemetry.NewSpans(telemetry.SpansConfig{Provider: sdk.NewTracerProvider()})
	for name, c := range map[string]struct {
		observer relay.Observer
		parent   string
	}{
		"metrics":         {metrics, own},
		"spans":           {spans, own},
		"spans unsampled": {spans, own[:54] + "0"},
	} {
		b.Run(name, func(b *testing.B) {
			messages := make([]*relay.Message, 100)
			for i := range messages {
				messages[i] = &relay.Message{CreatedAt: time.Now(), Message: waybill.Message{ID: strconv.Itoa(i), Topic: "orders", Headers: []waybill.Header{{Name: "traceparent", Value: c.parent}}}}
			}
			b.ReportAllocs()
			for b.Loop() {
				_, done := c.observer.Send(b.Context(), messages)
				for i := range messages {
					done(i, nil)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(messages)), "ns/msg")
		})
	}
}
