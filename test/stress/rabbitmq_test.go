package stress

import (
	"context"
	"errors"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybillhq/waybill/internal/testenv"
)

func sharedRabbitMQ(t *testing.T, topic string) *broker {
	t.Helper()
	return rabbitQueue(t, testenv.RabbitMQVhost(t), "quorum", topic)
}

// rabbitQueue makes a durable queue with the name of the topic.
func rabbitQueue(t *testing.T, vhost *testenv.Vhost, kind, topic string) *broker {
	t.Helper()
	vhost.API(t, "PUT", "/queues/"+vhost.Name+"/"+topic, map[string]any{"durable": true, "arguments": map[string]any{"x-queue-type": kind}})
	r := &rabbitReader{url: vhost.URL, queue: topic}
	t.Cleanup(func() {
		if r.conn != nil {
			r.conn.Close()
		}
	})
	return &broker{kind: "rabbitmq", url: vhost.URL, seen: NewObserver(), read: r.read}
}

// rabbitReader empties a queue by one consumer that stays: what a consumer that goes has acknowledged at the last moment comes
// again. So it must begin only when nobody kills the server any more.
type rabbitReader struct {
	url, queue string
	conn       *amqp.Connection
	ch         *amqp.Channel
	deliveries <-chan amqp.Delivery
}

func (r *rabbitReader) begin() error {
	conn, err := amqp.Dial(r.url)
	if err != nil {
		return err
	}
	if r.ch, err = conn.Channel(); err == nil {
		r.deliveries, err = r.ch.Consume(r.queue, "", false, false, false, false, nil)
	}
	if err != nil {
		conn.Close()
		return err
	}
	r.conn = conn
	return nil
}

func (r *rabbitReader) read(ctx context.Context, see func(string, []byte)) error {
	if r.conn == nil {
		if err := r.begin(); err != nil {
			return err
		}
	}
	for empty := false; ; {
		select {
		case d, open := <-r.deliveries:
			if !open {
				return errors.New("the consumer ended")
			}
			see(d.MessageId, d.Body)
			if err := d.Ack(false); err != nil {
				return err
			}
			empty = false
		case <-time.After(20 * time.Millisecond): // the client has handed over what it had
			if empty {
				return nil
			}
			queue, err := r.ch.QueueDeclarePassive(r.queue, true, false, false, false, nil)
			if err != nil {
				return err
			}
			empty = queue.Messages == 0
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
