package telemetry_test

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/telemetry"
	"github.com/waybillhq/waybill/waybilltest"
)

// A relay of one's own shows its metrics in a registry of one's own.
func ExampleCollector() {
	log, broker := waybilltest.NewLog(), &waybilltest.Broker{}
	log.Publish(waybill.Message{Topic: "orders", Type: "order.created"}, waybill.Message{Topic: "orders", Type: "order.paid"})

	metrics := telemetry.NewCollector(telemetry.CollectorConfig{Relay: "orders", Source: "db", Sink: "memory"})
	r, err := relay.New(relay.Config{Name: "orders", Source: log, Store: log, Sink: broker.Sink(), Observer: metrics})
	if err != nil {
		fmt.Println(err)
		return
	}
	metrics.Watch(r.Status)
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics)

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	broker.Received(ctx, 2) // waits for two messages
	cancel()
	<-ended

	families, err := registry.Gather()
	for _, f := range families {
		if f.GetName() == "waybill_relay_messages_total" {
			for _, m := range f.Metric {
				fmt.Println(m.Label[0].GetValue(), m.Counter.GetValue())
			}
		}
	}
	fmt.Println(err)
	// Output:
	// parked 0
	// published 2
	// retried 0
	// skipped 0
	// <nil>
}
