package sink_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/kafka"
	"github.com/waybillhq/waybill/waybilltest"
)

func TestKafkaInAProcessOfItsOwn(t *testing.T) {
	t.Parallel()
	waybilltest.TestSink(t, realHarness(t, kafka.Config{}))
}

func TestKafkaInAProcessOfItsOwnWithAFence(t *testing.T) {
	t.Parallel()
	waybilltest.TestSink(t, realHarness(t, kafka.Config{TransactionalID: "relay-1"}))
}

// realHarness gives each case a topic of its own on one Apache Kafka: the cases run one after the other.
func realHarness(t *testing.T, config kafka.Config) func(t *testing.T) waybilltest.SinkHarness {
	k := testenv.StartKafka(t, testenv.KafkaConfig{})
	n := 0
	return func(t *testing.T) waybilltest.SinkHarness {
		n++
		c := &kafkaConsumer{topic: fmt.Sprintf("orders-%d", n), options: []kgo.Opt{kgo.SeedBrokers(k.Brokers()...)}}
		c.create(t, 4, 1, c.topic, nil)
		return waybilltest.SinkHarness{
			Open: func(t *testing.T) relay.Sink {
				of := config
				if of.TransactionalID != "" {
					of.TransactionalID += t.Name()
				}
				return newKafka(t, strings.Join(k.Brokers(), ","), of)
			},
			Topic: c.topic, MissingTopic: "unknown", LargestPayload: 990_000,
			Received: c.received, Kill: func() { settleKafka(t, k); k.Kill() }, Start: k.Restart, Lacks: kafkaLacks,
		}
	}
}

// settleKafka waits until every committed transaction has its markers. Kafka 4.3.1 takes a partition without a leader for a deleted
// one when a coordinator that starts again writes what was left to write: readers of what is committed then hang there for good.
func settleKafka(t *testing.T, k *testenv.Kafka) {
	t.Helper()
	admin := kadm.NewClient(kafkaClient(t, k.Admin()))
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		open, err := admin.ListTransactions(t.Context(), nil, []string{"PrepareCommit", "PrepareAbort"})
		if err == nil && len(open) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("transactions %v, %v", open, err)
		}
	}
}
