package waybill_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
)

// The message is written by the transaction that changes the business table: both happen or neither.
func ExampleOutbox_Publish() {
	ctx := context.Background()
	var db *sql.DB // your database
	outbox, err := waybill.New(waybill.Config{Dialect: dialect.Postgres})
	if err != nil {
		log.Fatal(err)
	}

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `INSERT INTO users (name) VALUES ($1)`, "ada"); err != nil {
		log.Fatal(err)
	}
	err = outbox.Publish(ctx, waybill.SQL(tx), waybill.Message{
		Topic: "users", Key: "ada", Type: "user.registered", Payload: []byte(`{"name":"ada"}`), ContentType: "application/json",
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		log.Fatal(err)
	}
}
