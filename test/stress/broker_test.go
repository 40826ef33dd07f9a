package stress

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/sink/kafka"
	"github.com/waybillhq/waybill/sink/rabbitmq"
)

// broker is a running broker that stores every copy of one topic's messages: deduplication would hide what the relay does.
type broker struct {
	kind, url string
	// read shows what it has not shown yet, in the order of each key. It shares no code with the sink.
	read func(ctx context.Context, see func(id string, payload []byte)) error
	seen *Observer
}

// brokers has a name for each kind, which also tells a relay process where to publish.
var brokers = map[string]struct {
	start func(t *testing.T, topic string) *broker // one that nobody kills
	sink  func(url string) (relay.Sink, error)
}{
	"jetstream": {
		func(t *testing.T, topic string) *broker { return newJetStream(t).stream(t, topic) },
		func(url string) (relay.Sink, error) { return jetstream.New(url, jetstream.Config{}) },
	},
	"kafka": {
		sharedKafka,
		func(url string) (relay.Sink, error) { return kafka.New(url, kafka.Config{}) },
	},
	"kafka with a fence": {
		func(t *testing.T, topic string) *broker {
			b := sharedKafka(t, topic)
			b.url += "#" + topic
			return b
		},
		func(url string) (relay.Sink, error) {
			addresses, id, _ := strings.Cut(url, "#")
			return kafka.New(addresses, kafka.Config{TransactionalID: id})
		},
	},
	"rabbitmq": {
		sharedRabbitMQ,
		func(url string) (relay.Sink, error) { return rabbitmq.New(url, rabbitmq.Config{}) },
	},
}

func startBroker(t *testing.T, kind, topic string) *broker {
	t.Helper()
	b := brokers[kind].start(t, topic)
	b.kind = kind
	return b
}

// sink opens a sink for a relay in this process, which must have ended when the test ends.
func (b *broker) sink(t *testing.T) relay.Sink {
	t.Helper()
	sink, err := brokers[b.kind].sink(b.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sink.Close(); err != nil {
			t.Errorf("close the sink of %s: %v", b.kind, err)
		}
	})
	return sink
}

// observe returns the observer of everything that the broker has so far. A broker that has just started may need its time.
func (b *broker) observe(t *testing.T) *Observer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := b.read(ctx, b.seen.See)
		if err == nil {
			return b.seen
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("read from %s: %v", b.kind, err)
		}
	}
}
