package publish

import (
	"context"
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/schema"
)

func pool(t *testing.T, d database, mode pgx.QueryExecMode) *pgxpool.Pool {
	t.Helper()
	if _, err := schema.Apply(t.Context(), d.db, d.dialect); err != nil {
		t.Fatal(err)
	}
	cfg, err := pgxpool.ParseConfig(d.url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.DefaultQueryExecMode = mode
	p, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestPgxPublishesInEveryExecModeAndInASavepoint(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			d := postgres(t)
			o, want := d.newOutbox(t, waybill.Config{}), awkward()
			tx, err := pool(t, d, mode).Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(context.Background())
			if err := o.Publish(t.Context(), waybill.Pgx(tx), want[0]); err != nil {
				t.Fatal(err)
			}
			savepoint, err := tx.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := o.Publish(t.Context(), waybill.Pgx(savepoint), want...); err != nil {
				t.Fatal(err)
			}
			if err := savepoint.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := o.Publish(t.Context(), waybill.Pgx(tx), want[1:3]...); err != nil {
				t.Fatal(err)
			}
			for _, m := range want[3:] {
				if err := o.Publish(t.Context(), waybill.Pgx(tx), m); err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := d.stored(t); !reflect.DeepEqual(got, want) {
				t.Errorf("stored\n%q, want\n%q", got, want)
			}
		})
	}
}

func TestStatementTravelsInABatchOfTheCallers(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	p := pool(t, d, pgx.QueryExecModeCacheStatement)
	d.exec(t, `CREATE TABLE orders (id text PRIMARY KEY)`)
	o := d.newOutbox(t, waybill.Config{})
	err := pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) error {
		query, args, err := o.Statement(awkward()...)
		if err != nil {
			return err
		}
		var batch pgx.Batch
		batch.Queue(`INSERT INTO orders VALUES ($1)`, "42")
		batch.Queue(query, args...)
		return tx.SendBatch(t.Context(), &batch).Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.stored(t); !reflect.DeepEqual(got, awkward()) {
		t.Errorf("stored %q", got)
	}
}

func TestManyPublishesPrepareTwoStatements(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	p := pool(t, d, pgx.QueryExecModeCacheStatement)
	o := d.newOutbox(t, waybill.Config{})
	tx, err := p.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	for n := 1; n < 100; n++ {
		msgs := make([]waybill.Message, n)
		for i := range msgs {
			msgs[i] = waybill.Message{Topic: "t", Type: "n", Payload: make([]byte, n)}
		}
		if err := o.Publish(t.Context(), waybill.Pgx(tx), msgs...); err != nil {
			t.Fatal(err)
		}
	}
	var statements int
	if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT%'`).Scan(&statements); err != nil || statements != 2 {
		t.Errorf("%d statements (%v), want 2", statements, err)
	}
}
