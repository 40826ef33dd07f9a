package sink_test

import (
	"testing"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/kafka"
	"github.com/waybillhq/waybill/waybilltest"
)

var kafkaLacks = map[waybilltest.SinkAbility]string{waybilltest.Deduplication: "Kafka knows a copy only within one call"}

func TestKafkaInTheSameProcess(t *testing.T) {
	waybilltest.TestSink(t, fakeHarness(kafka.Config{}))
}

func TestKafkaInTheSameProcessWithAFence(t *testing.T) {
	waybilltest.TestSink(t, fakeHarness(kafka.Config{TransactionalID: "relay-1"}))
}

func fakeHarness(config kafka.Config) func(t *testing.T) waybilltest.SinkHarness {
	return func(t *testing.T) waybilltest.SinkHarness {
		k := startFakeKafka(t)
		return waybilltest.SinkHarness{
			Open: func(t *testing.T) relay.Sink {
				c := config
				if c.TransactionalID != "" {
					c.TransactionalID += t.Name()
				}
				return newKafka(t, k.seeds, c)
			},
			Topic: "orders", MissingTopic: "unknown", LargestPayload: 990_000,
			Received: k.received, Kill: k.stop, Start: func() { k.start(t) }, Lacks: kafkaLacks,
		}
	}
}
