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

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/sink/kafka"
	"github.com/waybillhq/waybill/sink/rabbitmq"
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
		err = bareClient(args[1], args[2], args[3])
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

// countedOrder keeps what the relay asks a sink for by its type.
type countedOrder struct {
	*counted
	relay.Fencer
}

func (countedOrder) OrderedBatch() {}

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
	inner, err := sinkTo(to)
	if err != nil {
		return err
	}
	c := &counted{Sink: inner, done: make(chan struct{})}
	want, _ := strconv.ParseInt(count, 10, 64)
	c.left.Store(want)
	sink := relay.Sink(c)
	if k, ok := inner.(*kafka.Sink); ok {
		sink = countedOrder{c, k}
	}
	r, err := relay.New(relay.Config{Name: name, Source: source, Store: source, Sink: sink, Observer: nullObserver(to)})
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

// sinkTo is the sink that "null...", "nats://...", "kafka://...", "kafka+fenced://..." or "amqp://..." asks for.
func sinkTo(to string) (relay.Sink, error) {
	scheme, address, _ := strings.Cut(to, "://")
	switch scheme {
	case "nats":
		return jetstream.New(to, jetstream.Config{})
	case "kafka":
		return kafka.New(address, kafka.Config{})
	case "kafka+fenced":
		return kafka.New(address, kafka.Config{TransactionalID: "bench"})
	case "amqp":
		return rabbitmq.New(to, rabbitmq.Config{})
	}
	return null{}, nil
}

// bareClient publishes what the relay would have read, from memory, without a database and without Waybill.
func bareClient(to, count, keys string) error {
	n, _ := strconv.Atoi(count)
	k, _ := strconv.Atoi(keys)
	scheme, address, _ := strings.Cut(to, "://")
	var took time.Duration
	var err error
	switch scheme {
	case "nats":
		took, err = bareJetStream(to, n)
	case "kafka":
		took, err = bareKafka(address, n, k, false)
	case "kafka+more":
		took, err = bareKafka(address, n, k, true)
	case "amqp":
		took, err = bareRabbitMQ(to, n)
	}
	if err != nil {
		return err
	}
	fmt.Printf("rate=%f cpu=%f\n", float64(n)/took.Seconds(), float64(cpuTime().Microseconds())/float64(n))
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
