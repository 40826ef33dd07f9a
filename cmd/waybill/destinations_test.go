package main

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/internal/testenv"
)

func TestABrokerThatIsDownDoesNotDelayTheOtherDestination(t *testing.T) {
	t.Parallel()
	db, down, up := testenv.Database(t), testenv.StartNATS(t, testenv.NATSConfig{}), testenv.StartNATS(t, testenv.NATSConfig{})
	for _, broker := range []*testenv.NATS{down, up} {
		makeStream(t, broker.URL(), jetstream.StreamConfig{Name: "orders", Subjects: []string{"orders.*", "billing"}, Discard: jetstream.DiscardNew})
	}
	s := newShell(t, "DATABASE="+db)
	s.write("waybill.yaml", `
listen: "off"
sources: {shop: {url: "${env:DATABASE}"}}
sinks:
  down: {url: "`+down.URL()+`"}
  up: {url: "`+up.URL()+`"}
relays:
  a: {source: shop, sink: down, topics: [billing]}
  b: {source: shop, sink: up, topics: ["orders.*"]}
  c: {source: shop, sink: up, topics: [billing]}
`)
	s.must("migrate", "up")
	conn, err := sql.Open("pgx", db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 200
	publish := func(part string) {
		t.Helper()
		if _, err := conn.Exec(`INSERT INTO waybill.outbox (id, topic, key, type) SELECT $1 || '-' || n, CASE n % 2 WHEN 0 THEN 'billing' ELSE 'orders.created' END, 'k' || n % 4, 't' FROM generate_series(1, $2) AS n`, part, n); err != nil {
			t.Fatal(err)
		}
	}
	down.Kill()
	publish("one")
	p := s.start("run")
	p.WaitOutput(t, "WB2101") // a is in trouble
	publish("two")            // while it is
	last := map[string]int{}
	for i, m := range consume(t, up.URL(), 2*n) {
		checkOrder(t, last, i, m)
	}
	down.Restart()
	last = map[string]int{}
	for i, m := range consume(t, down.URL(), n) {
		checkOrder(t, last, i, m)
		if m.Subject() != "billing" {
			t.Errorf("relay a published %s", m.Subject())
		}
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	for _, broker := range []*testenv.NATS{up, down} { // and nothing else
		if extra := stored(t, broker.URL()); broker == up && extra != 2*n || broker == down && extra != n {
			t.Errorf("%d messages are stored", extra)
		}
	}
}

// stored counts the messages of the stream orders.
func stored(t *testing.T, url string) (n int) {
	t.Helper()
	atBroker(t, url, func(js jetstream.JetStream) error {
		stream, err := js.Stream(t.Context(), "orders")
		if err == nil {
			n = int(stream.CachedInfo().State.Msgs)
		}
		return err
	})
	return n
}

// checkOrder sees that the messages of a topic and key come in the order in which they were written.
func checkOrder(t *testing.T, last map[string]int, i int, m jetstream.Msg) {
	t.Helper()
	var part string
	var n int
	if _, err := fmt.Sscanf(m.Headers().Get("ce-id"), "%3s-%d", &part, &n); err != nil {
		t.Fatal(err)
	}
	if part == "two" {
		n += 1000
	}
	lane := m.Subject() + " " + m.Headers().Get("ce-partitionkey")
	if n <= last[lane] {
		t.Errorf("message %d, %d of %s, came behind %d", i, n, lane, last[lane])
	}
	last[lane] = n
}
