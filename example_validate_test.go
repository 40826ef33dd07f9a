package waybill_test

import (
	"errors"
	"fmt"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
)

// Publish checks the same before it writes anything.
func ExampleOutbox_Validate() {
	outbox, err := waybill.New(waybill.Config{Dialect: dialect.SQLite, Topics: []string{"orders", "payments"}})
	if err != nil {
		panic(err)
	}
	err = outbox.Validate(waybill.Message{Topic: "ordres", Type: "order.created", Headers: []waybill.Header{{Name: "Nats-Rollup", Value: "all"}}})
	fmt.Println(err)
	var fault *waybill.FieldError
	fmt.Println(errors.Is(err, waybill.ErrTopicUnknown), errors.As(err, &fault), fault.Field)
	// Output:
	// waybill: WB3106 messages[0].Topic "ordres" is not in Config.Topics: known are orders, payments. Try: correct it, or add it to Config.Topics
	// waybill: WB3104 messages[0].Headers["Nats-Rollup"] "Nats-Rollup" is a reserved name: a broker, a protocol or Waybill sets it. Try: choose another name, such as one with "x-" before it
	// true true Topic
}
