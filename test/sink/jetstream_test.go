package sink_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	client "github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/waybilltest"
)

var lacks = map[waybilltest.SinkAbility]string{waybilltest.HeaderOrder: "the NATS client keeps headers in a map"}

func TestJetStreamInAProcessOfItsOwn(t *testing.T) {
	waybilltest.TestSink(t, func(t *testing.T) waybilltest.SinkHarness {
		server := testenv.StartNATS(t, testenv.NATSConfig{Settings: []string{"max_payload: 131072"}})
		c := &consumer{connect: func() (*nats.Conn, error) { return nats.Connect(server.URL()) }}
		c.makeStream(t, client.StreamConfig{Subjects: []string{"orders.created"}})
		return waybilltest.SinkHarness{
			Open:  func(t *testing.T) relay.Sink { return newSink(t, server.URL(), jetstream.Config{}) },
			Topic: "orders.created", MissingTopic: "orders.unknown", LargestPayload: 130_000,
			Received: c.received, Kill: server.Kill, Start: server.Restart, Lacks: lacks,
		}
	})
}

func TestJetStreamInTheSameProcess(t *testing.T) {
	waybilltest.TestSink(t, func(t *testing.T) waybilltest.SinkHarness {
		e := startEmbedded(t, &server.Options{MaxPayload: 131072})
		c := e.consumer()
		c.makeStream(t, client.StreamConfig{Subjects: []string{"orders.created"}})
		return waybilltest.SinkHarness{
			Open: func(t *testing.T) relay.Sink {
				return newSink(t, "", jetstream.Config{Options: []nats.Option{nats.InProcessServer(e)}})
			},
			Topic: "orders.created", MissingTopic: "orders.unknown", LargestPayload: 130_000,
			Received: c.received, Kill: e.stop, Start: e.start, Lacks: lacks,
		}
	})
}

// embedded is a NATS server in this process that can be stopped and started again on the same data. An orderly stop is all
// that is possible: a crash of the server would be one of the test.
type embedded struct {
	t       *testing.T
	options server.Options
	mu      sync.Mutex
	server  *server.Server
}

func startEmbedded(t *testing.T, options *server.Options) *embedded {
	t.Helper()
	options.DontListen = options.Port == 0
	options.JetStream, options.StoreDir, options.NoSigs, options.NoLog = true, t.TempDir(), true, true
	e := &embedded{t: t, options: *options}
	e.start()
	t.Cleanup(e.stop)
	return e
}

func (e *embedded) start() {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	options := e.options
	s, err := server.NewServer(&options)
	if err != nil {
		e.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		e.t.Fatal("the embedded server does not start")
	}
	e.server = s
}

func (e *embedded) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// InProcessConn implements nats.InProcessConnProvider for whichever server runs now.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.server.InProcessConn()
}
