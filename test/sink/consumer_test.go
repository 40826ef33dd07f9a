package sink_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/waybilltest"
)

// consumer reads a stream as a stranger would: it shares no code with the sink.
type consumer struct {
	connect func() (*nats.Conn, error)
	stream  string
}

// makeStream makes a stream by hand. Its name is that of its first subject, without dots.
func (c *consumer) makeStream(t *testing.T, config jetstream.StreamConfig) {
	t.Helper()
	nc, err := c.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if config.Name == "" {
		config.Name = strings.ReplaceAll(config.Subjects[0], ".", "-")
	}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatalf("create stream: %v", err)
	}
	c.stream = config.Name
}

// stored is received with patience: a cluster that comes back leaves requests unanswered for a while.
func (c *consumer) stored(t *testing.T, n int) []waybilltest.Received {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		list, err := c.received(ctx, n)
		cancel()
		if err == nil {
			return list
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// received returns all messages of the stream once it holds n.
func (c *consumer) received(ctx context.Context, n int) (list []waybilltest.Received, err error) {
	nc, err := c.connect()
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	for stream.CachedInfo().State.Msgs < uint64(n) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("the stream holds %d messages, not %d", stream.CachedInfo().State.Msgs, n)
		}
		if _, err := stream.Info(ctx); err != nil {
			return nil, err
		}
	}
	reader, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, err
	}
	messages, err := reader.Messages()
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	for last := stream.CachedInfo().State.LastSeq; last > 0; {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		r, err := decode(m)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
		if meta.Sequence.Stream == last {
			break
		}
	}
	return list, nil
}

func decode(m jetstream.Msg) (r waybilltest.Received, err error) {
	r = waybilltest.Received{Topic: m.Subject(), Payload: m.Data()}
	if r.Payload == nil {
		r.Payload = []byte{}
	}
	for name, values := range m.Headers() {
		if len(values) != 1 {
			return r, fmt.Errorf("header %q occurs %d times", name, len(values))
		}
		attribute, found := strings.CutPrefix(name, "ce-")
		if !found {
			switch name {
			case "waybill-tombstone":
				r.Payload = nil
			case "Nats-Msg-Id":
				if values[0] != m.Headers().Get("ce-id") {
					return r, fmt.Errorf("Nats-Msg-Id is %q, ce-id %q", values[0], m.Headers().Get("ce-id"))
				}
			default:
				r.Headers = append(r.Headers, waybill.Header{Name: name, Value: values[0]})
			}
			continue
		}
		value, err := url.PathUnescape(values[0])
		if err != nil {
			return r, err
		}
		switch attribute {
		case "id":
			r.ID = value
		case "source":
			r.Source = value
		case "type":
			r.Type = value
		case "specversion":
			if value != "1.0" {
				return r, fmt.Errorf("specversion %q", value)
			}
		case "time":
			if r.Time, err = time.Parse(time.RFC3339Nano, value); err != nil {
				return r, err
			}
		case "datacontenttype":
			r.ContentType = value
		case "sequence":
			r.Sequence = value
		case "partitionkey":
			r.Key = value
		default:
			return r, fmt.Errorf("attribute %q", attribute)
		}
	}
	return r, nil
}
