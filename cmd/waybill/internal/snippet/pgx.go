package snippet

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
)

func publishPgx(ctx context.Context, pool interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}, orderID string, body []byte) error {
	outbox, err := waybill.New(waybill.Config{Dialect: dialect.Postgres}) // once, when the service starts
	if err != nil {
		return err
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	// your own statements, in tx
	if err := outbox.Publish(ctx, waybill.Pgx(tx), waybill.Message{Topic: "orders", Key: orderID, Type: "order.created", Payload: body}); err != nil {
		return err
	}
	return tx.Commit(ctx) // both or neither
}
