package look

import (
	"database/sql"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/schema"
)

func postgresDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", testenv.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := schema.Apply(t.Context(), db, dialect.Postgres); err != nil {
		t.Fatal(err)
	}
	return db
}

func exec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func snapshotNow(t *testing.T, db *sql.DB) (text string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), `SELECT pg_current_snapshot()::text`).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

const insert = `INSERT INTO waybill.outbox (id, topic, type) SELECT 'm' || n, 't', 't' FROM generate_series(1, $1) AS n`

func TestPendingIsWhatIsNotBehindTheCursor(t *testing.T) {
	t.Parallel()
	db := postgresDB(t)
	look := func() Relay {
		t.Helper()
		r, err := Look(t.Context(), db, dialect.Postgres, Source{}, "r")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	want := func(pending int) {
		t.Helper()
		if r := look(); r.Pending == nil || *r.Pending != pending || (r.Oldest != nil) != (pending > 0) {
			t.Errorf("pending %v, oldest %v, want %d", r.Pending, r.Oldest, pending)
		}
	}
	exec(t, db, insert, 5)
	s0 := snapshotNow(t, db)
	want(5)
	exec(t, db, `INSERT INTO waybill.cursor (relay, epoch, position) VALUES ('r', 1, $1)`, s0)
	want(0)

	tx, err := db.BeginTx(t.Context(), nil) // it is open while the next span is taken
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(t.Context(), insert, 1); err != nil { // pos 6
		t.Fatal(err)
	}
	exec(t, db, insert, 4) // pos 7 to 10
	s1 := snapshotNow(t, db)
	want(4)
	exec(t, db, insert, 2) // pos 11 and 12, behind the span
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	want(7)
	exec(t, db, `UPDATE waybill.cursor SET position = $1`, s0+" 8 "+s1) // pos 7 and 8 of the span are done, 6 is not in it
	want(5)
	exec(t, db, `UPDATE waybill.cursor SET position = $1`, s1)
	want(3)

	exec(t, db, insert, Most+1)
	if r := look(); *r.Pending != Most || *r.Estimate <= Most || *r.Estimate > Most+12 {
		t.Errorf("pending %d, estimate %d, want the bound and about %d", *r.Pending, *r.Estimate, Most+4)
	}
	if bytes, err := TableBytes(t.Context(), db, dialect.Postgres, Source{}); err != nil || bytes < 100<<10 {
		t.Errorf("the table has %d bytes, %v", bytes, err)
	}
}

func TestLeaseAndMessagesSetAside(t *testing.T) {
	t.Parallel()
	db := postgresDB(t)
	r, err := Look(t.Context(), db, dialect.Postgres, Source{FromNow: true}, "r")
	if err != nil || r.Known || r.Pending != nil {
		t.Errorf("a relay that never ran: %+v, %v", r, err)
	}
	exec(t, db, `INSERT INTO waybill.cursor (relay, epoch, position) VALUES ('r', 1, '3:3:'), ('other', 1, '3:3:')`)
	exec(t, db, `INSERT INTO waybill.lease VALUES ('r', 'me', 1, clock_timestamp() + interval '1 minute')`)
	exec(t, db, `INSERT INTO waybill.parked (relay, pos, incarnation, lane, state, error, id, topic, type)
		SELECT CASE WHEN n > 5 THEN 'other' ELSE 'r' END, n, 1, 'k', CASE WHEN n > 3 THEN 'held' ELSE 'parked' END, CASE WHEN n < 5 THEN 'why ' || n ELSE '' END, 'm' || n, 't' || n, 't' FROM generate_series(1, 9) AS n`)
	r, err = Look(t.Context(), db, dialect.Postgres, Source{}, "r")
	if err != nil {
		t.Fatal(err)
	}
	// The fifth has no reason of its own: it waits behind the fourth.
	if !r.Known || r.Owner != "me" || r.Lease < 50*time.Second || r.Lease > time.Minute || r.Held != 2 || r.Parked != 3 || r.Why != "why 4" || r.WhyID != "m4" || r.WhyTopic != "t4" || r.SavedAgo < 0 {
		t.Errorf("got %+v", r)
	}
}
