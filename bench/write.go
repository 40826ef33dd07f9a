package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
)

// write measures what one Publish costs a transaction, against a hand-written INSERT of the same bytes into a plain table
// with one primary key. One connection: the two sides alternate in short slices and are compared pairwise.
func (b *bench) write() {
	ctx := context.Background()
	url, db := b.database(true)
	_, err := db.Exec(`CREATE TABLE business (id bigint PRIMARY KEY, n int NOT NULL); INSERT INTO business SELECT g, 0 FROM generate_series(1, 1000) g; ` +
		`CREATE TABLE plain (pos bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL, topic text NOT NULL, key text NOT NULL, type text NOT NULL, ` +
		`payload bytea, content_type text NOT NULL, headers text, created_at timestamptz NOT NULL DEFAULT clock_timestamp())`)
	b.must(err)
	conn, err := pgx.Connect(ctx, url)
	b.must(err)
	defer conn.Close(ctx)
	outbox, err := waybill.New(waybill.Config{Dialect: dialect.Postgres})
	b.must(err)
	payload := []byte(strings.Repeat("x", 512))
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	n := 0
	next := func() (id string, key string) {
		n++
		return fmt.Sprintf("%08d-0000-7000-8000-000000000000", n), fmt.Sprintf("customer-%d", n%100_000)
	}
	transaction := func(publish func(tx pgx.Tx) error) func() error {
		return func() error {
			tx, err := conn.Begin(ctx)
			if err != nil {
				return err
			}
			defer tx.Rollback(ctx)
			if _, err := tx.Exec(ctx, `UPDATE business SET n = n + 1 WHERE id = $1`, n%1000+1); err != nil {
				return err
			}
			if err := publish(tx); err != nil {
				return err
			}
			return tx.Commit(ctx)
		}
	}
	hand := transaction(func(tx pgx.Tx) error {
		id, key := next()
		_, err := tx.Exec(ctx, `INSERT INTO plain (id, topic, key, type, payload, content_type, headers) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			id, "orders", key, "order.created", payload, "application/json", `[["traceparent","`+trace+`"]]`)
		return err
	})
	ours := transaction(func(tx pgx.Tx) error {
		id, key := next()
		return outbox.Publish(ctx, waybill.Pgx(tx), waybill.Message{ID: id, Topic: "orders", Key: key, Type: "order.created", Payload: payload,
			ContentType: "application/json", Headers: []waybill.Header{{Name: "traceparent", Value: trace}}})
	})
	slice := func(side func() error) (rate, wal float64) {
		var before, after float64
		b.must(db.QueryRow(`SELECT pg_current_wal_insert_lsn() - '0/0'`).Scan(&before))
		count, start := 0, time.Now()
		for time.Since(start) < 500*time.Millisecond {
			b.must(side())
			count++
		}
		rate = float64(count) / time.Since(start).Seconds()
		b.must(db.QueryRow(`SELECT pg_current_wal_insert_lsn() - '0/0'`).Scan(&after))
		return rate, (after - before) / float64(count)
	}
	slice(hand) // warm
	slice(ours)
	var handRate, ourRate, handWAL, ourWAL series
	_, err = db.Exec(`CHECKPOINT`) // full-page images fall on both sides alike
	b.must(err)
	for i := range b.slices {
		measure := []func(){
			func() { r, w := slice(hand); handRate, handWAL = append(handRate, r), append(handWAL, w) },
			func() { r, w := slice(ours); ourRate, ourWAL = append(ourRate, r), append(ourWAL, w) },
		}
		measure[i%2]()
		measure[1-i%2]()
	}
	fmt.Printf("\n## Write side\n\nDatabase in memory (fsync and synchronous_commit on), one connection, pgx; a transaction of one business UPDATE and one message; %d paired slices of 0.5 s.\n\n", b.slices)
	fmt.Println("| | transactions/s | WAL bytes a transaction |")
	fmt.Println("|---|---|---|")
	fmt.Printf("| hand-written INSERT into a plain table | %v | %v |\n", handRate, handWAL)
	fmt.Printf("| Publish | %v | %v |\n", ourRate, ourWAL)
	fmt.Printf("| ratio, paired median | %.3f | %.3f |\n", ourRate.over(handRate).median(), ourWAL.over(handWAL).median())
}
