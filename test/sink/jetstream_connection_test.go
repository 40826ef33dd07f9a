package sink_test

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	client "github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
)

func TestWhatIsStuckInTheProcessNeverLeavesItAfterItsTime(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, &server.Options{})
	c := e.consumer()
	c.makeStream(t, client.StreamConfig{Subjects: []string{"orders"}})
	gate := newGate(e)
	sink := newSink(t, "", jetstream.Config{Options: []nats.Option{nats.InProcessServer(gate)}})
	defer sink.Close()
	for n := range 10 {
		sendUntilStored(t, sink, message("orders", "before-"+strconv.Itoa(n)))
		gate.close()
		stuck := many("orders", n*200, n*200+200)
		for _, m := range stuck {
			m.Payload = make([]byte, rand.IntN(1000)*(n%2)*10)
		}
		for i, err := range send(t, sink, 50*time.Millisecond, stuck...) {
			if class(err) != "temporary" {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		gate.open()
	}
	sendUntilStored(t, sink, message("orders", "last"))
	got := c.stored(t, 11)
	for _, r := range got {
		if !strings.HasPrefix(r.ID, "orders/before-") && r.ID != "orders/last" {
			t.Errorf("%s left after its time", r.ID)
		}
	}
}

// gate stands between client and server and holds up whatever is written while it is closed.
type gate struct {
	inner nats.InProcessConnProvider
	mu    sync.Mutex
	way   chan struct{} // closed: the way is free
}

func newGate(inner nats.InProcessConnProvider) *gate {
	g := &gate{inner: inner, way: make(chan struct{})}
	g.open()
	return g
}

func (g *gate) open() { close(g.way) }

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.way = make(chan struct{})
}

func (g *gate) InProcessConn() (net.Conn, error) {
	conn, err := g.inner.InProcessConn()
	return &gated{Conn: conn, gate: g, closed: make(chan struct{})}, err
}

type gated struct {
	net.Conn
	gate   *gate
	once   sync.Once
	closed chan struct{}
}

func (c *gated) Write(p []byte) (int, error) {
	c.gate.mu.Lock()
	way := c.gate.way
	c.gate.mu.Unlock()
	select {
	case <-way:
		return c.Conn.Write(p)
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *gated) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func sendUntilStored(t *testing.T, sink relay.Sink, messages ...*relay.Message) {
	t.Helper()
	for end := time.Now().Add(time.Minute); len(messages) > 0; {
		var again []*relay.Message
		var last error
		for i, err := range send(t, sink, 2*time.Second, messages...) {
			if err == nil {
				continue
			}
			again, last = append(again, messages[i]), err
			if class(err) != "temporary" || time.Now().After(end) {
				t.Fatal(err)
			}
		}
		if messages = again; last != nil {
			time.Sleep(10 * time.Millisecond) // the back-off that is the relay's
		}
	}
}

func TestABrokerThatFreezesIsAnOutageAndLosesNothing(t *testing.T) {
	t.Parallel()
	broker := testenv.StartNATS(t, testenv.NATSConfig{})
	c := &consumer{connect: func() (*nats.Conn, error) { return nats.Connect(broker.URL()) }}
	c.makeStream(t, client.StreamConfig{Subjects: []string{"orders"}})
	sink := newSink(t, broker.URL(), jetstream.Config{})
	defer sink.Close()
	sendUntilStored(t, sink, message("orders", "before"))
	broker.Pause()
	large := many("orders", 0, 500)
	for _, m := range large {
		m.Payload = make([]byte, 100_000) // far more than the sockets between hold
	}
	for _, messages := range [][]*relay.Message{many("orders", 1000, 1010), large} {
		began := time.Now()
		for _, err := range send(t, sink, 300*time.Millisecond, messages...) {
			if class(err) != "temporary" {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 30*time.Second { // the client alone would be stuck for a minute
			t.Errorf("the end of its time was noticed after %v", took)
		}
	}
	broker.Continue()
	sendUntilStored(t, sink, many("orders", 1000, 1010)...)
	sendUntilStored(t, sink, large...)
	got := c.stored(t, 511)
	if len(got) != 511 {
		t.Errorf("%d are stored, want 511: copies have the same id", len(got))
	}
}

func TestWhatWasConfirmedUnderFireIsStored(t *testing.T) {
	t.Parallel()
	broker := testenv.StartNATS(t, testenv.NATSConfig{})
	c := &consumer{connect: func() (*nats.Conn, error) { return nats.Connect(broker.URL()) }}
	c.makeStream(t, client.StreamConfig{Subjects: []string{"orders"}})
	sink := newSink(t, broker.URL(), jetstream.Config{})
	defer sink.Close()
	const batches, size = 60, 500
	var confirmed [batches * size]atomic.Bool
	stop := make(chan struct{})
	var fire sync.WaitGroup
	fire.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(20+rand.IntN(80)) * time.Millisecond): // a random moment is the point
				broker.Kill()
				broker.Restart()
			}
		}
	})
	for b := range batches {
		messages := many("orders", b*size, b*size+size)
		for i, err := range send(t, sink, 3*time.Second, messages...) {
			confirmed[b*size+i].Store(err == nil)
			if class(err) != "confirmed" && class(err) != "temporary" {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	fire.Wait()
	sendUntilStored(t, sink, message("orders", "last"))
	got := c.stored(t, 1)
	stored := map[string]bool{}
	for _, r := range got {
		stored[r.ID] = true
	}
	n := 0
	for i := range confirmed {
		if !confirmed[i].Load() {
			continue
		}
		if n++; !stored[message("orders", strconv.Itoa(i)).ID] {
			t.Errorf("message %d was confirmed and is not stored", i)
		}
	}
	t.Logf("%d of %d confirmed", n, len(confirmed))
}

func TestAServerThatSaysNothingIsAnOutageWithinTheTimeGiven(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts by its backlog, and never speaks
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	sink := newSink(t, listener.Addr().String(), jetstream.Config{ConnectTimeout: time.Hour})
	defer sink.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	done := make(chan error, 1)
	sink.Publish(ctx, many("orders", 0, 1), func(_ int, err error) { done <- err })
	select {
	case err := <-done:
		if class(err) != "temporary" || !strings.Contains(err.Error(), "WB2101") {
			t.Errorf("got %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("not confirmed a minute after its time")
	}
}
