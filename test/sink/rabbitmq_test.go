package sink_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/rabbitmq"
	"github.com/waybillhq/waybill/waybilltest"
)

// rabbitKeeps is when a new quorum queue or stream survives kill -9: before the server saves its register of them, twice a
// second, a killed one forgets the queue and all in it (docs/sinks/rabbitmq.md).
const rabbitKeeps = 2 * time.Second

func TestRabbitMQKeepsTheContractOfASink(t *testing.T) {
	t.Parallel()
	server := testenv.StartRabbitMQ(t, testenv.RabbitMQConfig{})
	for _, kind := range []string{"quorum", "classic", "stream"} {
		t.Run(kind, func(t *testing.T) {
			waybilltest.TestSink(t, func(t *testing.T) waybilltest.SinkHarness {
				vhost := server.Vhost(t)
				rabbitQueue(t, vhost, "orders.created", kind, nil)
				made := time.Now()
				c := &rabbitConsumer{vhost: vhost, queue: "orders.created", stream: kind == "stream"}
				return waybilltest.SinkHarness{
					Open: func(t *testing.T) relay.Sink {
						sink, err := rabbitmq.New(vhost.URL, rabbitmq.Config{MaxMessageBytes: 130_000})
						if err != nil {
							t.Fatal(err)
						}
						return sink
					},
					Topic: "orders.created", MissingTopic: "orders.unknown", LargestPayload: 130_000,
					Received: c.received, Start: server.Restart, Kill: func() {
						time.Sleep(time.Until(made.Add(rabbitKeeps)))
						server.Kill()
					},
					Lacks: map[waybilltest.SinkAbility]string{
						waybilltest.HeaderOrder:   "the client keeps headers in a map",
						waybilltest.Deduplication: "RabbitMQ drops no copies",
					},
				}
			})
		})
	}
}

func TestWhatAConsumerOfRabbitMQSeesIsWhatTheDocumentationShows(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	rabbitQueue(t, vhost, "orders.created", "quorum", nil)
	m := &relay.Message{Pos: 4711, Incarnation: 1772366645000, Message: waybill.Message{
		ID: "0199d5f0-5b5e-7cc4-9d5f-0a1b2c3d4e5f", Topic: "orders.created", Key: "customer 7", Type: "order.created",
		ContentType: "application/json", Payload: []byte(`{"order":42}`), Time: time.Date(2026, 3, 1, 13, 4, 5, 123456000, time.FixedZone("CET", 3600)),
		Headers: []waybill.Header{{Name: "traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
	}}
	sendUntilStored(t, newRabbit(t, vhost.URL, rabbitmq.Config{Source: "/waybill/orders"}), m)
	conn, err := amqp.Dial(vhost.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	d, ok, err := ch.Get("orders.created", true)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	lines := []string{"exchange: " + d.Exchange, "routing key: " + d.RoutingKey, "message_id: " + d.MessageId, "app_id: " + d.AppId, "type: " + d.Type,
		"content_type: " + d.ContentType, fmt.Sprint("delivery_mode: ", d.DeliveryMode), fmt.Sprint("timestamp: ", d.Timestamp.Unix()), "body: " + string(d.Body)}
	for name, value := range d.Headers {
		if name != "x-delivery-count" { // the queue's own
			lines = append(lines, fmt.Sprintf("header %s: %v", name, value))
		}
	}
	page, err := os.ReadFile("../../docs/sinks/rabbitmq.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```\nexchange:")
	example, _, _ = strings.Cut("exchange:"+example, "\n```")
	want := strings.Split(example, "\n")
	slices.Sort(want)
	slices.Sort(lines)
	for i := range want {
		want[i] = strings.TrimSpace(want[i])
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}
