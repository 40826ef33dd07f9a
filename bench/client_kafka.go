package main

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// bareKafka publishes messages of the same size from memory as fast as franz-go can: idempotent, all in-sync replicas, its own
// batching, not compressed; with as many unconfirmed as the relay may have, or as many as its default lets it.
func bareKafka(broker string, n, keys int, more bool) (time.Duration, error) {
	options := []kgo.Opt{kgo.SeedBrokers(broker), kgo.DefaultProduceTopic("orders"), kgo.ProducerBatchCompression(kgo.NoCompression())}
	if !more {
		options = append(options, kgo.MaxBufferedRecords(10_000))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ctx := context.Background()
	body := []byte(strings.Repeat("x", 512))
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	start := time.Now()
	for i := range n {
		id := fmt.Sprintf("%08d-0000-7000-8000-000000000000", i)
		client.Produce(ctx, &kgo.Record{Key: fmt.Appendf(nil, "customer-%d", i%keys), Value: body, Headers: []kgo.RecordHeader{
			{Key: "ce_id", Value: []byte(id)}, {Key: "ce_source", Value: []byte("/waybill/default")}, {Key: "ce_type", Value: []byte("order.created")},
			{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_time", Value: []byte("2026-01-01T00:00:00.000000Z")}, {Key: "content-type", Value: []byte("application/json")},
			{Key: "ce_sequence", Value: []byte("1795510214520-0000000000000000001")}, {Key: "ce_partitionkey", Value: []byte("customer-12345")},
			{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
		}}, promise)
	}
	if err := client.Flush(ctx); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}
