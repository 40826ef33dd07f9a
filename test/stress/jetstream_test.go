package stress

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	client "github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/internal/testenv"
)

type jetStream struct{ *testenv.NATS }

func newJetStream(t *testing.T, settings ...string) jetStream {
	t.Helper()
	return jetStream{testenv.StartNATS(t, testenv.NATSConfig{JetStream: settings})}
}

func (n jetStream) do(f func(client.JetStream) error) error {
	nc, err := nats.Connect(n.URL())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := client.New(nc)
	if err != nil {
		return err
	}
	return f(js)
}

// stream makes a stream for the topic.
func (n jetStream) stream(t *testing.T, topic string) *broker {
	t.Helper()
	const name = "STRESS"
	if err := n.do(func(js client.JetStream) error {
		_, err := js.CreateStream(t.Context(), client.StreamConfig{Name: name, Subjects: []string{topic}, Duplicates: 100 * time.Millisecond})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	next := uint64(1)
	return &broker{kind: "jetstream", url: n.URL(), seen: NewObserver(), read: func(ctx context.Context, see func(string, []byte)) error {
		return n.do(func(js client.JetStream) error {
			stream, err := js.Stream(ctx, name)
			if err != nil {
				return err
			}
			last := stream.CachedInfo().State.LastSeq
			if next > last {
				return nil
			}
			consumer, err := stream.OrderedConsumer(ctx, client.OrderedConsumerConfig{DeliverPolicy: client.DeliverByStartSequencePolicy, OptStartSeq: next})
			for err == nil && next <= last {
				var batch client.MessageBatch
				if batch, err = consumer.Fetch(int(min(last+1-next, 1000))); err != nil {
					break
				}
				for m := range batch.Messages() {
					meta, bad := m.Metadata()
					if bad != nil || meta.Sequence.Stream != next {
						return errors.Join(bad, errors.New("the stream has a hole"))
					}
					see(m.Headers().Get("Nats-Msg-Id"), m.Data())
					next++
				}
				err = batch.Error()
			}
			return err
		})
	}}
}
