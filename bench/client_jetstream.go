package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// bareJetStream publishes messages of the same size from memory as fast as the client can, with as many unconfirmed as the relay may have.
func bareJetStream(url string, n int) (time.Duration, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	js, err := natsjs.New(nc, natsjs.WithPublishAsyncMaxPending(10_000))
	if err != nil {
		return 0, err
	}
	body := []byte(strings.Repeat("x", 512))
	start := time.Now()
	for i := range n {
		m := nats.NewMsg("orders")
		m.Data = body
		m.Header = nats.Header{
			"Nats-Msg-Id": {fmt.Sprintf("%08d-0000-7000-8000-000000000000", i)},
			"ce-id":       {fmt.Sprintf("%08d-0000-7000-8000-000000000000", i)}, "ce-source": {"/waybill/default"}, "ce-type": {"order.created"},
			"ce-specversion": {"1.0"}, "ce-time": {"2026-01-01T00:00:00.000000Z"}, "ce-datacontenttype": {"application/json"},
			"ce-sequence": {"1795510214520-0000000000000000001"}, "ce-partitionkey": {"customer-12345"},
			"traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		}
		if _, err := js.PublishMsgAsync(m, natsjs.WithStallWait(time.Minute)); err != nil {
			return 0, err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		return 0, fmt.Errorf("%d messages are not acknowledged", js.PublishAsyncPending())
	}
	return time.Since(start), nil
}
