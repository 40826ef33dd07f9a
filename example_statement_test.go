package waybill_test

import (
	"fmt"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
)

// With pgx the statement travels in a batch of the caller's own: batch.Queue(query, args...).
func ExampleOutbox_Statement() {
	outbox, err := waybill.New(waybill.Config{Dialect: dialect.Postgres})
	if err != nil {
		panic(err)
	}
	query, args, err := outbox.Statement(waybill.Message{ID: "1", Topic: "orders", Key: "42", Type: "order.created", Payload: []byte("{}")})
	fmt.Println(query)
	fmt.Printf("%q %v\n", args, err)
	// Output:
	// INSERT INTO "waybill"."outbox" (id, topic, key, type, content_type, headers, time, payload) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
	// ["1" "orders" "42" "order.created" "" <nil> <nil> "{}"] <nil>
}
