package stress

import (
	"context"
	crand "crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
)

// Load is the order stress: many writers, few hot keys, and everything that makes commit order differ from number order.
type Load struct {
	DB      *sql.DB
	Outbox  *waybill.Outbox
	Topic   string
	Writers int
	Keys    int
	Per     int // transactions of each writer
	Begin   func(ctx context.Context, db *sql.DB) (*sql.Tx, error)
	Early   string // a statement that takes the transaction's number early; empty where there is none
	Think   time.Duration
	Broken  func(error) bool // tells errors that a crash of the database explains: the writer goes on; nil: none
}

// Schema is the business tables, in SQL that every database takes: each key's version, and the ids of all messages. Rows
// of the outbox are no witness, because retention deletes them.
var Schema = []string{`CREATE TABLE counter (key text PRIMARY KEY, n integer NOT NULL)`, `CREATE TABLE sent (id text PRIMARY KEY)`}

// Run writes until every writer is done, or ctx ends. The table counter has a row with n = 0 for each of the keys k0, k1, ...
func (l Load) Run(ctx context.Context, t testing.TB) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range l.Writers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 42))
			for range l.Per {
				err := l.transaction(ctx, rnd)
				if ctx.Err() != nil {
					return
				}
				if err != nil && !errors.Is(err, errRollback) && (l.Broken == nil || !l.Broken(err)) {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

var errRollback = errors.New("rolled back on purpose")

func (l Load) transaction(ctx context.Context, rnd *rand.Rand) error {
	tx, err := l.Begin(ctx, l.DB)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if l.Early != "" && rnd.IntN(2) == 0 {
		if _, err := tx.ExecContext(ctx, l.Early); err != nil {
			return err
		}
	}
	l.think(rnd)
	// Locked in a fixed order, so that writers do not deadlock.
	first, second := rnd.IntN(l.Keys), rnd.IntN(l.Keys)
	for _, k := range []int{min(first, second), max(first, second)} {
		savepoint := rnd.IntN(5) == 0
		if savepoint {
			if _, err := tx.ExecContext(ctx, `SAVEPOINT s`); err != nil {
				return err
			}
		}
		if err := l.publish(ctx, tx, fmt.Sprintf("k%d", k)); err != nil {
			return err
		}
		if savepoint && rnd.IntN(2) == 0 {
			if _, err := tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT s`); err != nil {
				return err
			}
		}
		l.think(rnd)
	}
	if rnd.IntN(10) == 0 {
		return errRollback
	}
	return tx.Commit()
}

// publish bumps the key's version under its row lock and publishes it in the same transaction.
func (l Load) publish(ctx context.Context, tx *sql.Tx, key string) error {
	var n int
	if err := tx.QueryRowContext(ctx, `UPDATE counter SET n = n + 1 WHERE key = $1 RETURNING n`, key).Scan(&n); err != nil {
		return err
	}
	m := waybill.Message{ID: crand.Text(), Topic: l.Topic, Key: key, Type: "order.changed", Payload: fmt.Appendf(nil, "%s/%d", key, n)}
	if _, err := tx.ExecContext(ctx, `INSERT INTO sent (id) VALUES ($1)`, m.ID); err != nil {
		return err
	}
	return l.Outbox.Publish(ctx, waybill.SQL(tx), m)
}

func (l Load) think(rnd *rand.Rand) {
	if l.Think > 0 {
		time.Sleep(rand.N(l.Think)) // part of the load, not a way to wait for something
	}
}

// Total is the number of messages committed so far.
func Total(ctx context.Context, t testing.TB, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sent`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Committed reads what was committed.
func Committed(ctx context.Context, t testing.TB, db *sql.DB) Business {
	t.Helper()
	b := Business{Versions: map[string]int{}, IDs: map[string]bool{}}
	each(ctx, t, db, `SELECT key, n FROM counter`, func(scan func(...any) error) error {
		var key string
		var n int
		err := scan(&key, &n)
		b.Versions[key] = n
		return err
	})
	each(ctx, t, db, `SELECT id FROM sent`, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		b.IDs[id] = true
		return err
	})
	return b
}

func each(ctx context.Context, t testing.TB, db *sql.DB, query string, row func(scan func(...any) error) error) {
	t.Helper()
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
