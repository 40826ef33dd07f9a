package main

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybillhq/waybill/internal/testenv"
)

const partitions = 6

// kafka measures how fast a backlog leaves for Kafka, beside the bare client that publishes the same messages from memory.
func (b *bench) kafka() {
	url, db := b.database(false)
	broker := testenv.StartKafka(&b.env, testenv.KafkaConfig{Settings: []string{"log.segment.delete.delay.ms=1000"}})
	address := broker.Brokers()[0]
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	b.must(err)
	defer client.Close()
	admin := kadm.NewClient(client)
	empty := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := admin.DeleteTopics(ctx, "orders"); err != nil {
			return err
		}
		_, err := admin.CreateTopic(ctx, partitions, 1, nil, "orders")
		return err
	}
	fmt.Printf("\n## Kafka\n\nPostgreSQL on disk, fsync on. Apache Kafka 4.3.1: one node in KRaft mode, a heap of 256 MiB, %d partitions. "+
		"Rates in messages/s, processor time of our own process in µs a message, median (min-max) of %d.\n\n", partitions, b.rounds)
	b.must(empty())
	b.must(refill(db, 0, b.million/10, 100_000))
	b.run("client", "kafka://"+address, strconv.Itoa(b.million/10), "100000") // warms the broker up
	d := &drained{b: b, url: url, db: db, empty: empty, bare: []string{"kafka://" + address, "kafka+more://" + address}}
	d.head("10,000 unconfirmed", "50,000, its default")
	d.row("", "kafka://"+address, b.million/10, 100_000)
	d.row("", "kafka://"+address, b.million, 100_000)
	d.row("", "kafka://"+address, b.million/10, 10)
	d.row("", "kafka://"+address, b.million/10, 1)
	d.row(", fenced", "kafka+fenced://"+address, b.million/10, 100_000)
	d.row(", fenced", "kafka+fenced://"+address, b.million/10, 10)
	d.row(", fenced", "kafka+fenced://"+address, b.million/10, 1)
}

// rabbitmq does the same for RabbitMQ's three kinds of queues. With few keys nothing stands beside: the bare client knows no keys.
func (b *bench) rabbitmq() {
	url, db := b.database(false)
	broker := testenv.StartRabbitMQ(&b.env, testenv.RabbitMQConfig{})
	fmt.Printf("\n## RabbitMQ\n\nPostgreSQL on disk, fsync on. One server. Both sides: one connection, %d channels with at most %d unconfirmed each, confirms, persistent, mandatory. "+
		"Rates in messages/s, processor time of our own process in µs a message, median (min-max) of %d.\n\n", channels, pending, b.rounds)
	conn, err := amqp.Dial(broker.URL())
	b.must(err)
	defer conn.Close()
	d := &drained{b: b, url: url, db: db}
	d.head("")
	for _, kind := range []string{amqp.QueueTypeQuorum, amqp.QueueTypeClassic, amqp.QueueTypeStream} {
		d.empty = func() error {
			ch, err := conn.Channel()
			if err != nil {
				return err
			}
			defer ch.Close()
			if _, err := ch.QueueDelete("orders", false, false, false); err != nil {
				return err
			}
			_, err = ch.QueueDeclare("orders", true, false, false, false, amqp.Table{amqp.QueueTypeArg: kind})
			return err
		}
		d.bare = []string{broker.URL()}
		d.row(", "+kind, broker.URL(), b.million/20, 100_000)
		d.bare = nil
		d.row(", "+kind, broker.URL(), b.million/50, 10)
		d.row(", "+kind, broker.URL(), b.million/250, 1)
	}
}

// drained is a table of backlogs that leave the outbox, a row beside one or more bare clients in turns.
type drained struct {
	b       *bench
	url     string
	db      *sql.DB
	empty   func() error // empties the broker
	bare    []string     // what each bare client is told
	columns int
	n       int
}

func (d *drained) head(bare ...string) {
	d.columns = len(bare)
	fmt.Print("| backlog | keys |")
	for _, name := range bare {
		if name != "" {
			name = ", " + name
		}
		fmt.Printf(" bare client%s | ratio |", name)
	}
	fmt.Println(" Waybill | processor, bare | processor, Waybill | peak RSS, MiB |")
	fmt.Print("|---|---|")
	for range bare {
		fmt.Print("---|---|")
	}
	fmt.Println("---|---|---|---|")
}

func (d *drained) row(note, to string, backlog, keys int) {
	b := d.b
	b.must(refill(d.db, 0, backlog, keys))
	bare := make([]series, len(d.bare))
	var ours, bareCPU, ourCPU, rss series
	for range b.rounds {
		for i, client := range d.bare {
			b.must(d.empty())
			got := b.run("client", client, strconv.Itoa(backlog), strconv.Itoa(keys))
			bare[i] = append(bare[i], got["rate"])
			if i == 0 {
				bareCPU = append(bareCPU, got["cpu"])
			}
		}
		b.must(d.empty())
		d.n++
		got := b.run("relay", d.url, fmt.Sprintf("sink-%d", d.n), "", to, strconv.Itoa(backlog))
		ours, ourCPU, rss = append(ours, got["rate"]), append(ourCPU, got["cpu"]), append(rss, got["rss"])
	}
	fmt.Printf("| %d%s | %d |", backlog, note, keys)
	cpu := "" // of the first bare client
	for i := range d.columns {
		if i >= len(bare) {
			fmt.Print(" | |")
			continue
		}
		fmt.Printf(" %v | %.2f |", bare[i], ours.over(bare[i]).median())
		cpu = bareCPU.String()
	}
	fmt.Printf(" %v | %s | %v | %.0f |\n", ours, cpu, ourCPU, rss.median())
}
