package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/source/postgres"
)

// child does one measured thing in a process of its own and prints name=value words.
func child(args []string) {
	log.SetFlags(0)
	var err error
	switch args[0] {
	case "select":
		err = selectLoop(args[1], args[2], args[3])
	case "relay":
		err = relayOnce(args[1], args[2], args[3], args[4], args[5])
	case "client":
		err = bareClient(args[1], args[2])
	default:
		err = fmt.Errorf("no child %q", args[0])
	}
	if err != nil {
		log.Fatal(err)
	}
}

// selectLoop reads the rows by keyset, scans every column and throws them away.
func selectLoop(url, from, count string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	last, _ := strconv.ParseInt(from, 10, 64)
	want, _ := strconv.Atoi(count)
	start := time.Now()
	for n := 0; n < want; {
		rows, err := conn.Query(ctx, `SELECT pos, id, topic, key, type, payload, content_type, headers, created_at FROM waybill.outbox `+
			`WHERE pos > $1 ORDER BY pos LIMIT 2500`, last)
		if err != nil {
			return err
		}
		var id, topic, key, typ, contentType, headers string
		var payload []byte
		var at time.Time
		for rows.Next() {
			if err := rows.Scan(&last, &id, &topic, &key, &typ, &payload, &contentType, &headers, &at); err != nil {
				return err
			}
			n++
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	fmt.Printf("rate=%f\n", float64(want)/time.Since(start).Seconds())
	return nil
}

// counted tells when a number of messages has been confirmed.
type counted struct {
	relay.Sink
	left  atomic.Int64
	done  chan struct{}
	first sync.Once
	start time.Time // of the first send: connecting is not measured
	cpu   time.Duration
}

func (c *counted) Publish(ctx context.Context, messages []*relay.Message, confirm func(int, error)) {
	c.first.Do(func() { c.start, c.cpu = time.Now(), cpuTime() })
	c.Sink.Publish(ctx, messages, func(i int, err error) {
		confirm(i, err)
		if err == nil && c.left.Add(-1) == 0 {
			close(c.done)
		}
	})
}

type null struct{}

func (null) Publish(_ context.Context, messages []*relay.Message, confirm func(int, error)) {
	for i := range messages {
		confirm(i, nil)
	}
}
func (null) Close() error { return nil }

// relayOnce relays count messages, starting at cursor.
func relayOnce(url, name, cursor, to, count string) error {
	if cursor != "" {
		db, err := sql.Open("pgx", url)
		if err != nil {
			return err
		}
		defer db.Close()
		if _, err := db.Exec(`INSERT INTO waybill.cursor (relay, epoch, position) VALUES ($1, 0, $2)`, name, cursor); err != nil {
			return err
		}
	}
	source, err := postgres.New(url, postgres.Config{})
	if err != nil {
		return err
	}
	defer source.Close()
	var sink relay.Sink = null{}
	if !strings.HasPrefix(to, "null") {
		if sink, err = jetstream.New(to, jetstream.Config{}); err != nil {
			return err
		}
	}
	c := &counted{Sink: sink, done: make(chan struct{})}
	want, _ := strconv.ParseInt(count, 10, 64)
	c.left.Store(want)
	r, err := relay.New(relay.Config{Name: name, Source: source, Store: source, Sink: c, Observer: nullObserver(to)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	select {
	case <-c.done:
	case err := <-ended:
		return err
	}
	took, cpu := time.Since(c.start), cpuTime()-c.cpu
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	fmt.Printf("rate=%f cpu=%f rss=%f\n", float64(want)/took.Seconds(), float64(cpu.Microseconds())/float64(want), peakRSS())
	return c.Close()
}

// bareClient publishes messages of the same size from memory as fast as the client can, with as many unconfirmed as the relay may have.
func bareClient(url, count string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := natsjs.New(nc, natsjs.WithPublishAsyncMaxPending(10_000))
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(count)
	body := []byte(strings.Repeat("x", 512))
	start := time.Now()
	for i := range n {
		m := nats.NewMsg("orders")
		m.Data = body
		m.Header = nats.Header{
			"Nats-Msg-Id": {fmt.Sprintf("%08d-0000-7000-8000-000000000000", i)},
			"ce-id":       {fmt.Sprintf("%08d-0000-7000-8000-000000000000", i)}, "ce-source": {"/waybill/default"}, "ce-type": {"order.created"},
			"ce-specversion": {"1.0"}, "ce-time": {"2026-01-01T00:00:00.000000Z"}, "ce-datacontenttype": {"application/json"},
			"ce-sequence": {"1795510214520-0000000000000000001"}, "ce-partitionkey": {"customer-12345"},
			"traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		}
		if _, err := js.PublishMsgAsync(m, natsjs.WithStallWait(time.Minute)); err != nil {
			return err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		return fmt.Errorf("%d messages are not acknowledged", js.PublishAsyncPending())
	}
	fmt.Printf("rate=%f\n", float64(n)/time.Since(start).Seconds())
	return nil
}

// cpuTime is what this process has used of all processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakRSS is this process's greatest resident memory, in MiB.
func peakRSS() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kb float64
	fmt.Sscan(rest, &kb)
	return kb / 1024
}
