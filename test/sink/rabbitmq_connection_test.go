package sink_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/rabbitmq"
)

// throughTrouble is a sink whose way to a queue orders can be made bad, and a consumer who is not affected.
func throughTrouble(t *testing.T) (*troubledNet, *rabbitmq.Sink, *rabbitConsumer) {
	t.Helper()
	vhost := testenv.RabbitMQVhost(t)
	rabbitQueue(t, vhost, "orders", "quorum", nil)
	way := newTroubledNet(t, vhost.URL)
	return way, newRabbit(t, way.url, rabbitmq.Config{}), &rabbitConsumer{vhost: vhost, queue: "orders"}
}

func TestALostAcknowledgementOfRabbitMQIsACopyAndNoLoss(t *testing.T) {
	t.Parallel()
	way, sink, c := throughTrouble(t)
	sendUntilStored(t, sink, many("orders", 0, 20)...) // all channels are open
	way.add("timeout", "down", map[string]any{"timeout": 0})
	messages := many("orders", 20, 120)
	for _, err := range send(t, sink, 500*time.Millisecond, messages...) {
		wantRabbit(t, err, "temporary", "WB2403")
	}
	rabbitStored(t, c, 120)       // the broker has them all, and said so in vain
	way.remove("timeout", "down") // this ends the connection, so the next time may be in vain as well
	attempts := 1
	for again := messages; len(again) > 0; attempts++ {
		failed := again[:0:0]
		for i, err := range send(t, sink, 2*time.Second, again...) {
			if err != nil {
				wantRabbit(t, err, "temporary", "WB240")
				failed = append(failed, again[i])
			}
		}
		again = failed
	}
	stored := rabbitStored(t, c, 220)
	for _, m := range messages {
		if n := stored[m.ID]; n < 2 || n > attempts {
			t.Errorf("%s is stored %d times after %d attempts", m.ID, n, attempts)
		}
	}
}

func TestAConnectionWithoutLifeIsNoticed(t *testing.T) {
	t.Parallel()
	way, sink, c := throughTrouble(t)
	sendUntilStored(t, sink, message("orders", "before"))
	way.add("timeout", "up", map[string]any{"timeout": 0})
	way.add("timeout", "down", map[string]any{"timeout": 0})
	// The end of its time is one way to notice, and the silence of the server another.
	wantRabbit(t, send(t, sink, 100*time.Millisecond, message("orders", "1"))[0], "temporary", "WB2403")
	wantRabbit(t, send(t, sink, time.Minute, message("orders", "2"))[0], "temporary", "WB2402")
	way.remove("timeout", "up")
	way.remove("timeout", "down")
	sendUntilStored(t, sink, many("orders", 1, 3)...)
	rabbitStored(t, c, 3)
}

func TestANetworkThatResetsConnectionsBreaksNoOrder(t *testing.T) {
	t.Parallel()
	way, sink, c := throughTrouble(t)
	stop := make(chan struct{})
	var storm sync.WaitGroup
	storm.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				way.add("reset_peer", "down", map[string]any{"timeout": 0})
				time.Sleep(20 * time.Millisecond)
				way.remove("reset_peer", "down")
			}
		}
	})
	const count = 1000
	broken := 0
	for n := range count { // one key, as a relay sends it
		m := message("orders", strconv.Itoa(n))
		m.Key = "one"
		for err := send(t, sink, 2*time.Second, m)[0]; err != nil; err = send(t, sink, 2*time.Second, m)[0] {
			wantRabbit(t, err, "temporary", "WB240")
			broken++
			time.Sleep(5 * time.Millisecond) // the back-off that is the relay's
		}
	}
	close(stop)
	storm.Wait()
	list, err := c.received(t.Context(), count)
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	for _, r := range list {
		n, err := strconv.Atoi(strings.TrimPrefix(r.ID, "orders/"))
		if err != nil || n > next {
			t.Fatalf("%s came before %d", r.ID, next)
		}
		next = max(next, n+1)
	}
	if next != count {
		t.Errorf("the last one is %d", next-1)
	}
	if broken == 0 {
		t.Error("nothing was reset")
	}
	t.Logf("%d times unconfirmed, %d copies", broken, len(list)-count)
}

func TestBytesThatComeOneByOneAreReadAllTheSame(t *testing.T) {
	t.Parallel()
	way, sink, c := throughTrouble(t)
	for _, direction := range []string{"up", "down"} {
		way.add("slicer", direction, map[string]any{"average_size": 1, "size_variation": 0, "delay": 0})
	}
	messages := many("orders", 0, 30)
	messages[7] = message("unknown", "7")
	for i, err := range send(t, sink, time.Minute, messages...) {
		if i == 7 {
			wantRabbit(t, err, "topic", "WB2411")
		} else if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	rabbitStored(t, c, 29)
}

func TestASlowBrokerIsWaitedForInParallel(t *testing.T) {
	t.Parallel()
	way, sink, c := throughTrouble(t)
	way.add("latency", "down", map[string]any{"latency": 500})
	for i, err := range send(t, sink, time.Minute, many("orders", 0, 1000)...) { // one by one it would be 500 s
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	rabbitStored(t, c, 1000)
}

func TestAFrozenRabbitMQIsAnOutageAndLosesNothing(t *testing.T) {
	t.Parallel()
	server := testenv.StartRabbitMQ(t, testenv.RabbitMQConfig{})
	vhost := server.Vhost(t)
	rabbitQueue(t, vhost, "orders", "classic", nil)
	sink := newRabbit(t, vhost.URL, rabbitmq.Config{MaxMessageBytes: 100 << 20})
	sendUntilStored(t, sink, message("orders", "before"))
	server.Pause()
	huge := message("orders", "huge")
	huge.Payload = make([]byte, 50<<20) // it cannot lie in the sockets as a whole, and what is left of it must not leave
	wantRabbit(t, send(t, sink, 300*time.Millisecond, huge)[0], "temporary", "WB240")
	large := many("orders", 0, 300)
	for _, m := range large {
		m.Payload = make([]byte, 100_000) // far more than the sockets between hold
	}
	for _, messages := range [][]*relay.Message{many("orders", 1000, 1010), large} {
		began := time.Now()
		for _, err := range send(t, sink, 300*time.Millisecond, messages...) {
			wantRabbit(t, err, "temporary", "WB240")
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the end of its time was noticed after %v", took)
		}
	}
	server.Continue()
	sendUntilStored(t, sink, many("orders", 1000, 1010)...)
	sendUntilStored(t, sink, large...)
	if got := rabbitStored(t, &rabbitConsumer{vhost: vhost, queue: "orders"}, 311); len(got) != 311 || got[huge.ID] > 0 {
		t.Errorf("%d ids are stored, want 311 without the huge one (%d)", len(got), got[huge.ID])
	}
}

func TestABrokerThatAcceptsAndSaysNothingIsAnOutageWithinTheTimeGiven(t *testing.T) {
	t.Parallel()
	way := newTroubledNet(t, "amqp://"+silent(t))
	sink := newRabbit(t, way.url, rabbitmq.Config{ConnectTimeout: time.Hour})
	began := time.Now()
	wantRabbit(t, send(t, sink, 50*time.Millisecond, message("orders", "0"))[0], "temporary", "WB2401")
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("noticed after %v", took)
	}
}
