package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/source/postgres"
)

// latency measures commit to confirmation at a steady rate, beside the poller that people write by hand: every 2 ms
// "pos > last", which loses rows, publish, remember last.
func (b *bench) latency() {
	fmt.Printf("\n## Latency\n\nCommit to JetStream's confirmation at a steady 2,000 messages/s, ms; %d alternating slices of 4 s each.\n\n", b.rounds)
	fmt.Println("| database | | p50 | p99 |")
	fmt.Println("|---|---|---|---|")
	for _, memory := range []bool{true, false} {
		where := map[bool]string{true: "in memory", false: "on disk"}[memory]
		url, db := b.database(memory)
		broker := testenv.StartNATS(&b.env, testenv.NATSConfig{})
		b.must(restream(broker.URL()))
		var p50, p99 [2]series
		for range b.rounds {
			for side, run := range []func(*latencies) (stop func()){b.handPoller(url, db, broker.URL()), b.relayed(url, broker.URL())} {
				l := &latencies{commits: map[string]time.Time{}}
				stop := run(l)
				l.write(b, url, 4*time.Second)
				time.Sleep(200 * time.Millisecond)
				stop()
				a, z := l.quantiles()
				p50[side], p99[side] = append(p50[side], a), append(p99[side], z)
			}
		}
		for side, name := range []string{"hand-written poller, 2 ms", "Waybill"} {
			fmt.Printf("| %s | %s | %v | %v |\n", where, name, p50[side], p99[side])
		}
		fmt.Printf("| %s | ratio, paired median | %.2f | %.2f |\n", where, p50[1].over(p50[0]).median(), p99[1].over(p99[0]).median())
		if !memory {
			var flush series
			for range 200 {
				start := time.Now()
				_, err := db.Exec(`SELECT pg_logical_emit_message(true, 'bench', '')`)
				b.must(err)
				flush = append(flush, float64(time.Since(start).Microseconds())/1000)
			}
			fmt.Printf("| %s | one flush of this disk, idle | %.2f | |\n", where, flush.median())
		}
	}
}

type latencies struct {
	mu      sync.Mutex
	commits map[string]time.Time
	ms      []float64
}

func (l *latencies) committed(id string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commits[id] = at
}

func (l *latencies) confirmed(id string) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.commits[id]; ok {
		l.ms = append(l.ms, max(0, float64(now.Sub(at).Microseconds())/1000))
	}
}

func (l *latencies) quantiles() (p50, p99 float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.ms)
	return l.ms[len(l.ms)/2], l.ms[len(l.ms)*99/100]
}

// write commits 2,000 messages a second over 8 connections. The commit's moment is just before COMMIT is sent, so that
// both sides carry the same commit.
func (l *latencies) write(b *bench, url string, d time.Duration) {
	outbox, err := waybill.New(waybill.Config{Dialect: dialect.Postgres})
	b.must(err)
	ctx := context.Background()
	body := []byte(strings.Repeat("x", 512))
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for w := range 8 {
		wg.Go(func() {
			conn, err := pgx.Connect(ctx, url)
			b.must(err)
			defer conn.Close(ctx)
			tick := time.NewTicker(4 * time.Millisecond)
			defer tick.Stop()
			for n := 0; time.Now().Before(end); n++ {
				<-tick.C
				id := fmt.Sprintf("%d-%d-%d", time.Now().UnixNano(), w, n)
				tx, err := conn.Begin(ctx)
				b.must(err)
				b.must(outbox.Publish(ctx, waybill.Pgx(tx), waybill.Message{ID: id, Topic: "orders", Key: strconv.Itoa(w*1000 + n%1000), Type: "order.created", Payload: body}))
				l.committed(id, time.Now())
				b.must(tx.Commit(ctx))
			}
		})
	}
	wg.Wait()
}

func (b *bench) handPoller(url string, db *sql.DB, broker string) func(*latencies) func() {
	return func(l *latencies) func() {
		ctx, cancel := context.WithCancel(context.Background())
		conn, err := pgx.Connect(ctx, url)
		b.must(err)
		nc, err := nats.Connect(broker)
		b.must(err)
		js, err := natsjs.New(nc, natsjs.WithPublishAsyncAckHandler(func(_ natsjs.JetStream, m *nats.Msg, _ *natsjs.PubAck) { l.confirmed(m.Header.Get("Nats-Msg-Id")) }))
		b.must(err)
		var last int64
		b.must(db.QueryRow(`SELECT coalesce(max(pos), 0) FROM waybill.outbox`).Scan(&last))
		var wg sync.WaitGroup
		wg.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				rows, err := conn.Query(context.Background(), `SELECT pos, id, topic, payload FROM waybill.outbox WHERE pos > $1 ORDER BY pos LIMIT 1000`, last)
				b.must(err)
				for rows.Next() {
					m := nats.NewMsg("")
					var id string
					b.must(rows.Scan(&last, &id, &m.Subject, &m.Data))
					m.Header.Set("Nats-Msg-Id", id)
					_, err := js.PublishMsgAsync(m)
					b.must(err)
				}
				b.must(rows.Err())
			}
		})
		return func() {
			cancel()
			wg.Wait()
			conn.Close(context.Background())
			nc.Close()
		}
	}
}

// timed tells when each message is confirmed.
type timed struct {
	relay.Sink
	l *latencies
}

func (t timed) Publish(ctx context.Context, messages []*relay.Message, confirm func(int, error)) {
	t.Sink.Publish(ctx, messages, func(i int, err error) {
		if err == nil {
			t.l.confirmed(messages[i].ID)
		}
		confirm(i, err)
	})
}

func (b *bench) relayed(url, broker string) func(*latencies) func() {
	return func(l *latencies) func() {
		source, err := postgres.New(url, postgres.Config{From: relay.Now})
		b.must(err)
		sink, err := jetstream.New(broker, jetstream.Config{})
		b.must(err)
		r, err := relay.New(relay.Config{Name: strconv.FormatInt(time.Now().UnixNano(), 10), Source: source, Store: source, Sink: timed{sink, l}})
		b.must(err)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		for r.Status().State != "running" {
			time.Sleep(time.Millisecond)
		}
		return func() {
			cancel()
			b.must(<-ended)
			b.must(sink.Close())
			b.must(source.Close())
		}
	}
}
