package sink_test

import (
	"testing"
	"time"

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
