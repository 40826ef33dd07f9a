package stress

import (
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

func TestOrderStressPostgresCursor(t *testing.T) {
	ctx := t.Context()
	url := testenv.Database(t)
	db := openPostgres(t, url)
	load := prepare(t, db)

	other := openPostgres(t, testenv.Database(t)) // a neighbour with a write transaction open all the time
	exec(t, other, `CREATE TABLE busy (n int)`)
	neighbour := begin(t, other)
	run(t, neighbour, `INSERT INTO busy VALUES (1)`)
	run(t, begin(t, db), `CREATE TABLE orphan (n int)`, `PREPARE TRANSACTION 'orphan-`+t.Name()+`'`)
	t.Cleanup(func() { db.Exec(`ROLLBACK PREPARED 'orphan-` + t.Name() + `'`) })

	exec(t, db, `INSERT INTO counter VALUES ('long', 0)`)
	long := begin(t, db) // publishes at once and commits last
	if err := load.publish(ctx, long, "long"); err != nil {
		t.Fatal(err)
	}

	observer := NewObserver()
	source, err := postgres.New(url, postgres.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	stop := startRelay(t, relay.Config{Name: "stress", Source: source, Store: source, Sink: Sink{observer}})
	load.Run(ctx, t)
	// No stall: everything but the open transaction arrives while that, the neighbour's and the prepared one are open.
	within(t, 30*time.Second, "all but the long transaction's message to arrive", func() bool {
		return observer.Count() == Committed(ctx, t, db, "waybill.outbox").Total()
	})
	if err := long.Commit(); err != nil {
		t.Fatal(err)
	}
	within(t, 30*time.Second, "the long transaction's message to arrive", func() bool {
		return observer.Count() == Committed(ctx, t, db, "waybill.outbox").Total()
	})
	stop()
	v := observer.Check(Committed(ctx, t, db, "waybill.outbox"))
	t.Log(v)
	if !v.OK() || v.Duplicates != 0 {
		t.Fail()
	}
}
