package sink_test

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybillhq/waybill/sink/kafka"
)

// fakeKafka is franz-go's kfake: the real protocol and rules of Kafka without its replication, and faults on demand.
type fakeKafka struct {
	*kafkaConsumer
	*kfake.Cluster
	mu      sync.Mutex
	options []kfake.Opt
	seeds   string
}

// startFakeKafka starts one with the topic "orders" of four partitions.
func startFakeKafka(t *testing.T, options ...kfake.Opt) *fakeKafka {
	t.Helper()
	k := &fakeKafka{options: append([]kfake.Opt{kfake.NumBrokers(3), kfake.DataDir(t.TempDir()), kfake.SyncWrites()}, options...)}
	k.start(t)
	var ports []int
	for _, address := range k.ListenAddrs() {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, n)
	}
	k.options = append(k.options, kfake.Ports(ports...))
	k.seeds = strings.Join(k.ListenAddrs(), ",")
	k.kafkaConsumer = &kafkaConsumer{topic: "orders", options: []kgo.Opt{kgo.SeedBrokers(k.ListenAddrs()...)}}
	k.create(t, 4, 3, "orders", nil)
	t.Cleanup(func() { k.stop() })
	return k
}

func (k *fakeKafka) start(t *testing.T) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := kfake.NewCluster(k.options...)
	if err != nil {
		t.Fatal(err)
	}
	k.Cluster = c
}

func (k *fakeKafka) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.Close()
}

func (k *fakeKafka) sink(t *testing.T, config kafka.Config) *kafka.Sink {
	t.Helper()
	sink := newKafka(t, k.seeds, config)
	t.Cleanup(func() { sink.Close() })
	return sink
}

func newKafka(t *testing.T, brokers string, config kafka.Config) *kafka.Sink {
	t.Helper()
	sink, err := kafka.New(brokers, config)
	if err != nil {
		t.Fatal(err)
	}
	return sink
}
