package sink_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/rabbitmq"
)

// BenchmarkRabbitMQ compares the sink with the client alone, in alternating slices on one server: persistent, mandatory,
// confirmed messages of 512 bytes with the same properties and headers, at most 1,000 unconfirmed.
func BenchmarkRabbitMQ(b *testing.B) {
	for _, kind := range []string{"quorum", "classic", "stream"} {
		b.Run(kind, func(b *testing.B) {
			vhost := testenv.RabbitMQVhost(b)
			vhost.API(b, "PUT", "/queues/"+vhost.Name+"/orders", map[string]any{"durable": true, "arguments": map[string]any{"x-queue-type": kind}})
			sink, err := rabbitmq.New(vhost.URL, rabbitmq.Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer sink.Close()
			conn, err := amqp.Dial(vhost.URL)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			const slice, one = 3000, 300
			var took [4]time.Duration
			for n := 0; b.Loop(); n++ {
				for i, run := range []func(){
					func() { bare(b, conn, slice) },
					func() { pipelined(b, sink, slice, 1000) },
					func() { pipelined(b, sink, one, 10) },
					func() { pipelined(b, sink, one/3, 1) },
				} {
					began := time.Now()
					run()
					took[i] += time.Since(began)
				}
			}
			rate := func(i, count int) float64 { return float64(count*b.N) / took[i].Seconds() }
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rate(0, slice), "bare/s")
			b.ReportMetric(rate(1, slice), "sink/s")
			b.ReportMetric(rate(1, slice)/rate(0, slice), "sink/bare")
			b.ReportMetric(rate(2, one), "10keys/s")
			b.ReportMetric(rate(3, one/3), "1key/s")
		})
	}
}

func benchMessage(n, keys int) *relay.Message {
	return &relay.Message{Pos: int64(n), Incarnation: 1, Message: waybill.Message{
		ID: fmt.Sprintf("0199d5f0-5b5e-7cc4-9d5f-%012d", n), Topic: "orders", Key: fmt.Sprint("key-", n%keys), Type: "order.created",
		ContentType: "application/json", Payload: make([]byte, 512), Time: time.Now(),
		Headers: []waybill.Header{{Name: "traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
	}}
}

// pipelined keeps as many messages unconfirmed as there are keys, as a relay does.
func pipelined(b *testing.B, sink relay.Sink, count, keys int) {
	free := make(chan struct{}, keys)
	var all sync.WaitGroup
	all.Add(count)
	for n := 0; n < count; {
		free <- struct{}{}
		batch := []*relay.Message{benchMessage(n, keys)}
		for n++; n < count && len(batch) < 100; n++ {
			select {
			case free <- struct{}{}:
				batch = append(batch, benchMessage(n, keys))
				continue
			default:
			}
			break
		}
		sink.Publish(context.Background(), batch, func(_ int, err error) {
			if err != nil {
				b.Error(err)
			}
			<-free
			all.Done()
		})
	}
	all.Wait()
}

// bare is the client's own way to keep many unconfirmed: one channel, confirms through NotifyPublish.
func bare(b *testing.B, conn *amqp.Connection, count int) {
	ch, err := conn.Channel()
	if err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		b.Fatal(err)
	}
	defer ch.Close()
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1000))
	returns := ch.NotifyReturn(make(chan amqp.Return, 1000))
	free := make(chan struct{}, 1000)
	var all sync.WaitGroup
	all.Go(func() {
		for range count {
			if c := <-confirms; !c.Ack || len(returns) > 0 {
				b.Error("not confirmed")
			}
			<-free
		}
	})
	for n := range count {
		free <- struct{}{}
		m := benchMessage(n, 1000)
		err := ch.Publish("", m.Topic, true, false, amqp.Publishing{
			Headers: amqp.Table{"cloudEvents_id": m.ID, "cloudEvents_source": "/waybill/default", "cloudEvents_type": m.Type, "cloudEvents_specversion": "1.0",
				"cloudEvents_time": m.Time.UTC().Format(time.RFC3339Nano), "cloudEvents_sequence": "0000000000001-0000000000000000001", "cloudEvents_partitionkey": m.Key,
				"traceparent": m.Headers[0].Value},
			ContentType: m.ContentType, DeliveryMode: amqp.Persistent, MessageId: m.ID, Timestamp: m.Time, Type: m.Type, AppId: "/waybill/default", Body: m.Payload,
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	all.Wait()
}
