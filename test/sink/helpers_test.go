package sink_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	client "github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
)

func message(topic, id string) *relay.Message {
	return &relay.Message{Pos: 1, Message: waybill.Message{ID: topic + "/" + id, Topic: topic, Type: "t", Payload: []byte("{}")}}
}

func many(topic string, from, to int) (list []*relay.Message) {
	for n := from; n < to; n++ {
		list = append(list, message(topic, fmt.Sprint(n)))
	}
	return list
}

// send publishes and waits for every confirmation.
func send(t *testing.T, sink relay.Sink, timeout time.Duration, messages ...*relay.Message) []error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	type confirmation struct {
		i   int
		err error
	}
	confirmed := make(chan confirmation, 2*len(messages))
	sink.Publish(ctx, messages, func(i int, err error) { confirmed <- confirmation{i, err} })
	errs := make([]error, len(messages))
	for n := range messages {
		select {
		case c := <-confirmed:
			errs[c.i] = c.err
		case <-time.After(timeout + time.Minute):
			t.Fatalf("%d of %d messages are not confirmed a minute after their time", len(messages)-n, len(messages))
		}
	}
	return errs
}

func class(err error) string {
	switch {
	case err == nil:
		return "confirmed"
	case relay.IsRejected(err):
		return "rejected"
	case relay.IsTopic(err):
		return "topic"
	}
	return "temporary"
}

func newSink(t *testing.T, servers string, config jetstream.Config) *jetstream.Sink {
	t.Helper()
	sink, err := jetstream.New(servers, config)
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// listen answers requests on subject as some service would.
func listen(t *testing.T, e *embedded, subject, answer string) {
	t.Helper()
	nc, err := e.connect()
	if err == nil {
		_, err = nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte(answer)) }) // it fails for who did not ask
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
}

func (e *embedded) connect(options ...nats.Option) (*nats.Conn, error) {
	return nats.Connect("", append(options, nats.InProcessServer(e))...)
}

func (e *embedded) consumer(options ...nats.Option) *consumer {
	return &consumer{connect: func() (*nats.Conn, error) { return e.connect(options...) }}
}

func (e *embedded) sink(t *testing.T, config jetstream.Config) *jetstream.Sink {
	t.Helper()
	config.Options = append(config.Options, nats.InProcessServer(e))
	sink := newSink(t, "", config)
	t.Cleanup(func() { sink.Close() })
	return sink
}

func (e *embedded) stream(t *testing.T, name string) (*nats.Conn, client.JetStream, client.StreamConfig) {
	t.Helper()
	nc, err := e.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := client.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js, stream.CachedInfo().Config
}

func (e *embedded) config(t *testing.T, name string) client.StreamConfig {
	t.Helper()
	_, _, config := e.stream(t, name)
	return config
}

func (e *embedded) sealed(t *testing.T, name string) {
	t.Helper()
	_, js, config := e.stream(t, name)
	config.Sealed = true
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}
