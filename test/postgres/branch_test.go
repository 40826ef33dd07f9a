package postgres

import (
	"context"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	sink "github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/source/postgres"
)

// A topic without a stream, with as many messages as a day brings: it costs one row, delays nothing else, and once the stream is
// there it catches up, in order and without a copy too many, while messages keep coming and the relay changes hands.
func TestATopicThatIsMissingForADayCostsOneRow(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	server := testenv.StartNATS(t, testenv.NATSConfig{})
	orders := newStream(t, server, "orders")
	n := 20_000
	if long {
		n = 1_000_000
	}
	bulk := func(topic string, from, to int) {
		s.exec(`INSERT INTO waybill.outbox (id, topic, key, type, payload) SELECT $1 || n, $1, 'k' || n % 100, 't', '{}' FROM generate_series($2::int, $3::int) AS n`, topic, from, to)
	}
	bulk("audit", 1, n)
	bulk("orders", 1, n/10)

	run := func() (r *relay.Relay, stop func()) {
		src := s.source(postgres.Config{})
		to, err := sink.New(server.URL(), sink.Config{})
		s.must(err)
		r, err = relay.New(relay.Config{Name: "orders", Source: src, Store: src, Sink: to, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		s.must(err)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		stop = func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("the relay ended: %v", err)
			}
			to.Close()
		}
		return r, stop
	}
	stored := func(st jetstream.Stream) int {
		info, err := st.Info(context.Background())
		s.must(err)
		return int(info.State.Msgs)
	}
	r, stop := run()
	within(t, "the other topic", func() bool { return stored(orders) == n/10 })
	within(t, "the branch", func() bool { return len(r.Status().Branches) == 1 })
	bulk("audit", n+1, n+1000)
	bulk("orders", n/10+1, n/10+1000)
	within(t, "the other topic, while one waits", func() bool { return stored(orders) == n/10+1000 })
	within(t, "the cursor to pass what waits", func() bool {
		return s.number(`SELECT count(*) FROM waybill.outbox_status WHERE relay = 'orders' AND NOT is_published AND id LIKE 'orders%'`) == 0
	})
	if rows := s.number(`SELECT count(*) FROM waybill.cursor WHERE branch = 'audit'`) + s.number(`SELECT count(*) FROM waybill.parked`); rows != 1 {
		t.Errorf("%d rows for the topic that waits", rows)
	}
	if left := s.number(`SELECT count(*) FROM waybill.outbox_status WHERE relay = 'orders' AND NOT is_published`); left != int64(n+1000) {
		t.Errorf("%d messages are shown as not published, want %d", left, n+1000)
	}
	stop() // the next owner finds the branch
	r, stop = run()
	defer func() { stop() }()

	js, err := jetstream.New(orders.js.Conn())
	s.must(err)
	audit, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "AUDIT", Subjects: []string{"audit"}, Duplicates: 100 * time.Millisecond})
	s.must(err)
	within(t, "the branch to catch up", func() bool {
		bulk("orders", 1, 1) // something goes on meanwhile
		return stored(audit) > n/2
	})
	stop() // in the middle of it
	r, stop = run()
	bulk("audit", n+1001, n+1100)
	within(t, "the branch to be over", func() bool {
		return len(r.Status().Branches) == 0 && s.number(`SELECT count(*) FROM waybill.cursor WHERE branch <> ''`) == 0
	})
	bulk("audit", n+1101, n+1200)
	within(t, "everything", func() bool { return stored(audit) >= n+1200 })

	consumer, err := js.OrderedConsumer(t.Context(), "AUDIT", jetstream.OrderedConsumerConfig{})
	s.must(err)
	last, seen := map[string]int{}, 0
	messages, err := consumer.Messages()
	s.must(err)
	defer messages.Stop()
	for seen < n+1200 {
		m, err := messages.Next()
		s.must(err)
		key := m.Headers().Get("ce-partitionkey")
		number, err := strconv.Atoi(m.Headers().Get("ce-id")[len("audit"):])
		s.must(err)
		if last[key] > 0 && number != last[key]+100 {
			t.Fatalf("message %d of key %s follows %d", number, key, last[key])
		}
		last[key] = number
		seen++
	}
	if got := stored(audit); got != n+1200 {
		t.Errorf("%d messages in the stream, want %d: a clean stop and a merge repeat nothing", got, n+1200)
	}
}
