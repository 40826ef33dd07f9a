package sink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/sink/rabbitmq"
	"github.com/waybillhq/waybill/waybilltest"
)

func newRabbit(t *testing.T, url string, config rabbitmq.Config) *rabbitmq.Sink {
	t.Helper()
	sink, err := rabbitmq.New(url, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sink.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return sink
}

// silent is the address of a server that accepts, by its backlog, and never speaks.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

// rabbitQueue makes a durable queue by hand. kind is classic, quorum or stream.
func rabbitQueue(t *testing.T, vhost *testenv.Vhost, name, kind string, arguments map[string]any) {
	t.Helper()
	all := map[string]any{"x-queue-type": kind}
	for k, v := range arguments {
		all[k] = v
	}
	vhost.API(t, "PUT", "/queues/"+vhost.Name+"/"+name, map[string]any{"durable": true, "arguments": all})
}

func rabbitBind(t *testing.T, vhost *testenv.Vhost, exchange, queue, key string) {
	t.Helper()
	vhost.API(t, "POST", "/bindings/"+vhost.Name+"/e/"+exchange+"/q/"+queue, map[string]any{"routing_key": key})
}

func rabbitExchange(t *testing.T, vhost *testenv.Vhost, name, kind string, arguments map[string]any) {
	t.Helper()
	if arguments == nil {
		arguments = map[string]any{} // null is an error of the server
	}
	vhost.API(t, "PUT", "/exchanges/"+vhost.Name+"/"+name, map[string]any{"type": kind, "durable": true, "arguments": arguments})
}

// rabbitConsumer takes the messages of a queue as a stranger would: it shares no code with the sink.
type rabbitConsumer struct {
	vhost  *testenv.Vhost
	queue  string
	stream bool
	got    []waybilltest.Received
}

// received returns all messages of the queue since the test began, once they are n.
func (c *rabbitConsumer) received(ctx context.Context, n int) ([]waybilltest.Received, error) {
	if err := c.quiet(ctx); err != nil {
		return nil, err
	}
	conn, err := amqp.Dial(c.vhost.URL)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	take := c.take
	if c.stream {
		take = c.takeStream
	}
	for {
		err := take(ctx, ch)
		if e := (*amqp.Error)(nil); errors.As(err, &e) && strings.Contains(e.Reason, "down or inaccessible") {
			ch, err = conn.Channel() // the queue has no leader yet
		}
		if err != nil {
			return nil, err
		}
		if len(c.got) >= n {
			return append([]waybilltest.Received(nil), c.got...), nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("the queue has given %d messages, not %d", len(c.got), n)
		}
	}
}

// take empties the queue: what the server counts in one go, what it has not counted yet one by one.
func (c *rabbitConsumer) take(ctx context.Context, ch *amqp.Channel) error {
	queue, err := ch.QueueDeclarePassive(c.queue, true, false, false, false, nil)
	if err != nil {
		return err
	}
	if err := ch.Qos(500, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.ConsumeWithContext(ctx, c.queue, "tag", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for range queue.Messages {
		d, open := <-deliveries
		if !open {
			return fmt.Errorf("the consumer ended: %v", ctx.Err())
		}
		if err := c.keep(d); err != nil {
			return err
		}
		if err := d.Ack(false); err != nil {
			return err
		}
	}
	if err := ch.Cancel("tag", false); err != nil {
		return err
	}
	for d := range deliveries {
		if err := d.Reject(true); err != nil {
			return err
		}
	}
	for {
		d, ok, err := ch.Get(c.queue, true)
		if err != nil || !ok {
			return err
		}
		if err := c.keep(d); err != nil {
			return err
		}
	}
}

// takeStream reads to a mark of its own behind everything, and leaves all of it.
func (c *rabbitConsumer) takeStream(ctx context.Context, ch *amqp.Channel) error {
	const mark = "mark"
	if err := ch.Confirm(false); err != nil {
		return err
	}
	id := fmt.Sprint(time.Now().UnixNano())
	confirmation, err := ch.PublishWithDeferredConfirm("", c.queue, true, false, amqp.Publishing{AppId: mark, MessageId: id})
	if err != nil {
		return err
	}
	if ok, err := confirmation.WaitContext(ctx); err != nil || !ok {
		return fmt.Errorf("the mark was not stored: %v", err)
	}
	if err := ch.Qos(1000, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.ConsumeWithContext(ctx, c.queue, "", false, false, false, false, amqp.Table{"x-stream-offset": "first"})
	if err != nil {
		return err
	}
	c.got = nil
	for d := range deliveries {
		if err := d.Ack(false); err != nil {
			return err
		}
		if d.AppId == mark {
			if d.MessageId == id {
				return nil
			}
			continue
		}
		if err := c.keep(d); err != nil {
			return err
		}
	}
	return fmt.Errorf("the stream ended before its mark: %v", ctx.Err())
}

// quiet waits until the server has done with the connections that sinks have left: a sink has one.
func (c *rabbitConsumer) quiet(ctx context.Context) error {
	for {
		answer, err := c.vhost.Get("/vhosts/" + c.vhost.Name + "/connections")
		if err != nil {
			return err
		}
		var connections []struct {
			Properties struct {
				Product string `json:"product"`
			} `json:"client_properties"`
		}
		if err := json.Unmarshal([]byte(answer), &connections); err != nil {
			return err
		}
		n := 0
		for _, conn := range connections {
			if conn.Properties.Product == "waybill" {
				n++
			}
		}
		if n <= 2 { // the suite opens two sinks at most
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the server still has %d connections of sinks", n)
		}
	}
}

func (c *rabbitConsumer) keep(d amqp.Delivery) error {
	r, err := decodeRabbit(d)
	if err == nil {
		c.got = append(c.got, r)
	}
	return err
}

func decodeRabbit(d amqp.Delivery) (r waybilltest.Received, err error) {
	r = waybilltest.Received{Topic: d.RoutingKey, Payload: d.Body, ContentType: d.ContentType}
	if r.Payload == nil {
		r.Payload = []byte{}
	}
	if d.DeliveryMode != amqp.Persistent {
		return r, fmt.Errorf("delivery mode %d", d.DeliveryMode)
	}
	for name, any := range d.Headers {
		value, ok := any.(string)
		if name == "x-stream-offset" || name == "x-delivery-count" {
			continue
		}
		if !ok {
			return r, fmt.Errorf("header %q is a %T", name, any)
		}
		attribute, found := strings.CutPrefix(name, "cloudEvents_")
		if !found {
			if name == "waybill-tombstone" {
				r.Payload = nil
			} else {
				r.Headers = append(r.Headers, waybill.Header{Name: name, Value: value})
			}
			continue
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
		case "sequence":
			r.Sequence = value
		case "partitionkey":
			r.Key = value
		default:
			return r, fmt.Errorf("attribute %q", attribute)
		}
	}
	if d.MessageId != r.ID || d.AppId != r.Source || d.Type != r.Type || !r.Time.IsZero() && d.Timestamp.Unix() != r.Time.Unix() {
		return r, fmt.Errorf("properties %q %q %q %v differ from the attributes %q %q %q %v", d.MessageId, d.AppId, d.Type, d.Timestamp, r.ID, r.Source, r.Type, r.Time)
	}
	return r, nil
}
