package sink_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybillhq/waybill/cloudevents"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/kafka"
)

// BenchmarkKafka compares the sink with the client's own producer, in alternating slices on one node of Apache Kafka with a
// topic of six partitions: idempotent, acks=all, messages of 512 bytes with the same headers, at most 10,000 unconfirmed.
func BenchmarkKafka(b *testing.B) {
	brokers := testenv.KafkaBrokers(b)
	for _, codec := range []string{"none", "snappy"} {
		b.Run(codec, func(b *testing.B) {
			c := &kafkaConsumer{topic: "orders-" + codec, options: []kgo.Opt{kgo.SeedBrokers(brokers...)}}
			admin, err := c.client()
			if err != nil {
				b.Fatal(err)
			}
			defer admin.Close()
			if _, err := kadm.NewClient(admin).CreateTopic(b.Context(), 6, 1, nil, c.topic); err != nil {
				b.Fatal(err)
			}
			open := func(config kafka.Config) *kafka.Sink {
				config.Compression = codec
				sink, err := kafka.New(strings.Join(brokers, ","), config)
				if err != nil {
					b.Fatal(err)
				}
				return sink
			}
			sink, fenced := open(kafka.Config{}), open(kafka.Config{TransactionalID: "bench-" + codec})
			defer sink.Close()
			defer fenced.Close()
			compression := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "snappy": kgo.SnappyCompression()}[codec]
			producer, err := c.client(kgo.DefaultProduceTopic(c.topic), kgo.ProducerBatchCompression(compression), kgo.MaxBufferedRecords(10_000))
			if err != nil {
				b.Fatal(err)
			}
			defer producer.Close()
			const slice, one = 50_000, 20_000
			var took [5]time.Duration
			for b.Loop() {
				for i, run := range []func(){
					func() { bareKafka(b, producer, slice) },
					func() { calls(b, sink, c.topic, slice, 100_000, 10) },
					func() { calls(b, sink, c.topic, one, 10, 1) },
					func() { calls(b, sink, c.topic, one, 1, 1) },
					func() { calls(b, fenced, c.topic, slice, 100_000, 10) },
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
			b.ReportMetric(rate(3, one), "1key/s")
			b.ReportMetric(rate(4, slice), "fence/s")
		})
	}
}

// calls publishes count messages, a thousand in a call and so many calls at once, as a relay does that never has a key in two calls.
func calls(b *testing.B, sink relay.Sink, topic string, count, keys, flying int) {
	free := make(chan struct{}, flying)
	var all sync.WaitGroup
	for from := 0; from < count; from += 1000 {
		messages := make([]*relay.Message, 1000)
		for i := range messages {
			messages[i] = benchMessage(from+i, keys)
			messages[i].Topic = topic
		}
		free <- struct{}{}
		all.Add(1000)
		var left sync.WaitGroup
		left.Add(1000)
		sink.Publish(context.Background(), messages, func(_ int, err error) {
			if err != nil {
				b.Error(err)
			}
			left.Done()
			all.Done()
		})
		go func() {
			left.Wait()
			<-free
		}()
	}
	all.Wait()
}

func bareKafka(b *testing.B, producer *kgo.Client, count int) {
	for n := range count {
		m := benchMessage(n, 100_000)
		r := &kgo.Record{Key: []byte(m.Key), Value: m.Payload, Timestamp: m.Time}
		for name, value := range cloudevents.Attributes(m, cloudevents.DefaultSource) {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "ce_" + name, Value: []byte(value)})
		}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Name, Value: []byte(h.Value)})
		}
		producer.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := producer.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
}
