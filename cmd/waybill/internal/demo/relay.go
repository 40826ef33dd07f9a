package demo

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/source/sqlite"
)

// outboxWriter is the service on Waybill: it does not know the broker.
type outboxWriter struct{ outbox *waybill.Outbox }

func openWaybill(string) (publisher, error) {
	outbox, err := waybill.New(waybill.Config{Dialect: dialect.SQLite})
	return outboxWriter{outbox}, err
}

func (w outboxWriter) insideTransaction(ctx context.Context, tx *sql.Tx, _ request, e entry) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return w.outbox.Publish(ctx, waybill.SQL(tx), waybill.Message{
		Topic: withWaybill + subjectSuffix, Key: strconv.Itoa(int(e.Customer)), Type: "customer.registered", Payload: data,
	})
}

func (outboxWriter) afterCommit(context.Context, request, entry) error { return nil }

func (outboxWriter) close() {}

// runRelay publishes what the service on Waybill wrote.
func runRelay(ctx context.Context, _, dir, address string) error {
	db, err := openDatabase(dir, withWaybill)
	if err != nil {
		return err
	}
	defer db.Close()
	source, err := sqlite.New(db, sqlite.Config{PollMax: 100 * time.Millisecond})
	if err != nil {
		return err
	}
	sink, err := jetstream.New("nats://"+address, jetstream.Config{})
	if err != nil {
		return err
	}
	// After kill -9 the lease must run out before the next relay may work: short, because nobody wants to wait in a demo.
	r, err := relay.New(relay.Config{Name: "demo", Source: source, Store: source, Sink: sink, Lease: time.Second})
	if err == nil {
		err = r.Run(ctx)
	}
	return errors.Join(err, sink.Close())
}
