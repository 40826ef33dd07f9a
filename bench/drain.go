package main

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/internal/testenv"
)

// drain measures how fast a backlog leaves the outbox: to nothing, beside a bare keyset SELECT loop over the same rows, and
// to JetStream, beside the bare client that publishes the same messages from memory.
func (b *bench) drain() {
	url, db := b.database(false)
	broker := testenv.StartNATS(&b.env, testenv.NATSConfig{})
	fmt.Printf("\n## Drain\n\nPostgreSQL on disk, fsync on. JetStream: own process, file store, deduplication id on. Rates in messages/s, median (min-max) of %d.\n\n", b.rounds)
	fmt.Println("| backlog | keys | bare SELECT loop | to a null sink | ratio | bare client | to JetStream | ratio | peak RSS, MiB |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	cases := []struct{ backlog, keys, retained int }{
		{10_000, 100_000, 0}, {b.million, 100_000, 0}, {b.million / 10, 10, 0}, {b.million / 50, 1, 0},
	}
	if b.retained > 0 {
		cases = append(cases, struct{ backlog, keys, retained int }{b.million, 100_000, b.retained})
	}
	for _, c := range cases {
		b.must(refill(db, c.retained, c.backlog, c.keys))
		name := strconv.Itoa(c.backlog)
		if c.retained > 0 {
			name += fmt.Sprintf(" behind %d published", c.retained)
		}
		var loop, null, bare, js, rss series
		for round := range b.rounds {
			from := strconv.Itoa(c.retained)
			n := strconv.Itoa(c.backlog)
			cursor := b.cursor(db, c.retained)
			loop = append(loop, b.run("select", url, from, n)["rate"])
			got := b.run("relay", url, fmt.Sprintf("null-%d", round), cursor, "null", n)
			null, rss = append(null, got["rate"]), append(rss, got["rss"])
			b.must(restream(broker.URL()))
			bare = append(bare, b.run("client", broker.URL(), strconv.Itoa(min(c.backlog, 200_000)), strconv.Itoa(c.keys))["rate"])
			b.must(restream(broker.URL()))
			got = b.run("relay", url, fmt.Sprintf("js-%d", round), cursor, broker.URL(), n)
			js, rss = append(js, got["rate"]), append(rss, got["rss"])
			_, err := db.Exec(`DELETE FROM waybill.cursor`)
			b.must(err)
		}
		fmt.Printf("| %s | %d | %v | %v | %.2f | %v | %v | %.2f | %.0f |\n", name, c.keys,
			loop, null, null.over(loop).median(), bare, js, js.over(bare).median(), rss.median())
	}
}

// refill leaves exactly retained rows that a cursor has passed, and the backlog behind them.
func refill(db *sql.DB, retained, backlog, keys int) error {
	for _, q := range []string{
		`TRUNCATE waybill.outbox, waybill.cursor, waybill.lease, waybill.parked RESTART IDENTITY`,
		insertRows(retained, keys),
		insertRows(backlog, keys),
		`VACUUM ANALYZE waybill.outbox`,
		`CHECKPOINT`,
	} {
		if _, err := db.Exec(q); err != nil {
			return fmt.Errorf("%.60s: %w", q, err)
		}
	}
	return nil
}

func insertRows(n, keys int) string {
	return fmt.Sprintf(`INSERT INTO waybill.outbox (id, topic, key, type, payload, content_type, headers) `+
		`SELECT gen_random_uuid()::text, 'orders', 'customer-' || (g %% %d), 'order.created', convert_to(repeat('x', 512), 'UTF8'), 'application/json', `+
		`'[["traceparent","00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]]' FROM generate_series(1, %d) AS g`, keys, n)
}

// cursor is a position that sees the retained rows and not the backlog.
func (b *bench) cursor(db *sql.DB, retained int) string {
	if retained == 0 {
		return ""
	}
	var xid string
	b.must(db.QueryRow(`SELECT min(xid)::text FROM waybill.outbox WHERE pos > $1`, retained).Scan(&xid))
	return xid + ":" + xid + ":"
}

// restream empties the broker.
func restream(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if err := js.DeleteStream(ctx, "ORDERS"); err != nil && err != jetstream.ErrStreamNotFound {
		return err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders"}, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew})
	return err
}
