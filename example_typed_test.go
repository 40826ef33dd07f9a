package waybill_test

import (
	"fmt"

	"github.com/waybillhq/waybill"
)

type order struct {
	ID    string `json:"id"`
	Total int    `json:"total"`
}

var orderCreated = waybill.Typed[order]{
	Topic: "orders",
	Type:  "order.created",
	Key:   func(o order) string { return o.ID },
}

// In a transaction: orderCreated.Publish(ctx, outbox, waybill.SQL(tx), order{...}).
func ExampleTyped() {
	m, err := orderCreated.Message(order{ID: "42", Total: 7})
	fmt.Printf("%s %s %s %s %s %v\n", m.Topic, m.Key, m.Type, m.ContentType, m.Payload, err)
	// Output: orders 42 order.created application/json {"id":"42","total":7} <nil>
}
