package snippet

import (
	"context"
	"database/sql"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
)

func publishSQLite(ctx context.Context, db *sql.DB, orderID string, body []byte) error {
	outbox, err := waybill.New(waybill.Config{Dialect: dialect.SQLite}) // once, when the service starts
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	// your own statements, in tx
	if err := outbox.Publish(ctx, waybill.SQL(tx), waybill.Message{Topic: "orders", Key: orderID, Type: "order.created", Payload: body}); err != nil {
		return err
	}
	return tx.Commit() // both or neither
}
