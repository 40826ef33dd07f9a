package main

import (
	"fmt"
	"log"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// channels is how many the sink spreads keys over, pending how many messages it leaves unconfirmed on each.
const channels, pending = 4, 1024

// bareRabbitMQ publishes messages of the same size from memory as fast as amqp091-go can: confirmed, persistent, mandatory; over
// one connection with as many channels as the sink has, and as many unconfirmed.
func bareRabbitMQ(url string, n int) (time.Duration, error) {
	start := time.Now()
	conn, err := amqp.Dial(url)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var all sync.WaitGroup
	for lane := range channels {
		all.Go(func() {
			if err := bareChannel(conn, lane, n); err != nil {
				log.Fatal(err)
			}
		})
	}
	all.Wait()
	return time.Since(start), nil
}

// bareChannel publishes every message whose number is lane modulo channels.
func bareChannel(conn *amqp.Connection, lane, n int) error {
	ch, err := conn.Channel()
	if err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		return err
	}
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, pending))
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	free := make(chan struct{}, pending)
	var confirmed sync.WaitGroup
	confirmed.Go(func() {
		for i := lane; i < n; i += channels {
			if c := <-confirms; !c.Ack || len(returns) > 0 {
				log.Fatal("the server did not confirm a message, or returned it")
			}
			<-free
		}
	})
	body := []byte(strings.Repeat("x", 512))
	at := time.Now()
	for i := lane; i < n; i += channels {
		free <- struct{}{}
		id := fmt.Sprintf("%08d-0000-7000-8000-000000000000", i)
		err := ch.Publish("", "orders", true, false, amqp.Publishing{
			Headers: amqp.Table{
				"cloudEvents_id": id, "cloudEvents_source": "/waybill/default", "cloudEvents_type": "order.created",
				"cloudEvents_specversion": "1.0", "cloudEvents_time": "2026-01-01T00:00:00.000000Z",
				"cloudEvents_sequence": "1795510214520-0000000000000000001", "cloudEvents_partitionkey": "customer-12345",
				"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			},
			ContentType: "application/json", DeliveryMode: amqp.Persistent, MessageId: id, Timestamp: at, Type: "order.created", AppId: "/waybill/default", Body: body,
		})
		if err != nil {
			return err
		}
	}
	confirmed.Wait()
	return nil
}
