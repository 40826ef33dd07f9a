package sink_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/rabbitmq"
	"github.com/waybillhq/waybill/waybilltest"
)

func TestWhatTheFirstConfirmationOfAMadeQueueStandsForSurvivesAKill(t *testing.T) {
	t.Parallel()
	server := testenv.StartRabbitMQ(t, testenv.RabbitMQConfig{})
	vhost := server.Vhost(t)
	sendUntilStored(t, newRabbit(t, vhost.URL, rabbitmq.Config{Create: true}), message("orders", "1"))
	server.Kill()
	server.Restart()
	rabbitStored(t, &rabbitConsumer{vhost: vhost, queue: "orders"}, 1)
}

func TestAReturnOutlivesAPauseHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	rabbitQueue(t, vhost, "orders", "classic", nil)
	sink := newRabbit(t, vhost.URL, rabbitmq.Config{})
	messages := many("unknown", 1, 2001)
	for _, m := range messages {
		m.Key = "one" // and so one channel
	}
	first := message("orders", "0")
	first.Key = "one"
	paused := make(chan struct{})
	go sink.Publish(t.Context(), []*relay.Message{first}, func(int, error) {
		close(paused)
		time.Sleep(7 * time.Second) // plays a pause of the process: the client throws a return away after 5 s
	})
	<-paused
	for i, err := range send(t, sink, time.Minute, messages...) {
		if class(err) != "topic" {
			t.Errorf("%d, which no queue took: %v", i, err)
		}
	}
}

// refusals tells of the first message that a queue refuses.
type refusals struct {
	relay.Sink
	first sync.Once
	seen  chan struct{}
}

func (r *refusals) Publish(ctx context.Context, messages []*relay.Message, confirm func(int, error)) {
	r.Sink.Publish(ctx, messages, func(i int, err error) {
		if err != nil && strings.Contains(err.Error(), "WB2405") {
			r.first.Do(func() { close(r.seen) })
		}
		confirm(i, err)
	})
}

func TestWhatComesBehindARefusedMessageOfItsKeyWaitsForIt(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	rabbitQueue(t, vhost, "full", "classic", map[string]any{"x-max-length": 5, "x-overflow": "reject-publish"})
	rabbitQueue(t, vhost, "free", "classic", nil)
	log := waybilltest.NewLog()
	const count = 60
	for n := range count {
		log.Publish(waybill.Message{ID: fmt.Sprint("full/", n), Topic: "full", Key: "one", Type: "t"}, waybill.Message{ID: fmt.Sprint("free/", n), Topic: "free", Key: "other", Type: "t"})
	}
	sink := &refusals{Sink: newRabbit(t, vhost.URL, rabbitmq.Config{}), seen: make(chan struct{})}
	r, err := relay.New(relay.Config{Name: "orders", Source: log, Store: log, Sink: sink, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-sink.seen:
	case <-ctx.Done():
		t.Fatal("a full queue refused nothing")
	}
	if got := rabbitStored(t, &rabbitConsumer{vhost: vhost, queue: "free"}, count); len(got) != count { // nobody has made room
		t.Errorf("of the other key %d are stored, want %d", len(got), count)
	}
	list, err := (&rabbitConsumer{vhost: vhost, queue: "full"}).received(ctx, count)
	if err != nil {
		t.Fatal(err)
	}
	for n, m := range list {
		if m.ID != fmt.Sprint("full/", n) {
			t.Fatalf("message %d is %s", n, m.ID)
		}
	}
}
