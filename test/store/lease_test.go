package store

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/schema"
	"github.com/waybillhq/waybill/source/flagged"
)

func acquire(t *testing.T, store relay.Store, owner string) relay.Tenure {
	t.Helper()
	tenure, err := store.Acquire(t.Context(), relay.Claim{Relay: "r", Owner: owner, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return tenure
}

func exec(t *testing.T, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// With the guard in a subquery on the lease, the save that waited for the row's lock was let through and overwrote the new
// owner's cursor.
func TestASaveThatWaitedForATakeoverIsLost(t *testing.T) {
	t.Parallel()
	_, open := postgresDatabase(t)
	db := open(t)
	old, store := acquire(t, sqlstore.Postgres(db), "old"), sqlstore.Postgres(open(t))

	tx := begin(t, db, dialect.Postgres, "")
	tx.exec(`UPDATE waybill.lease SET owner = 'new', epoch = epoch + 1`)
	tx.exec(`UPDATE waybill.cursor SET epoch = epoch + 1, position = '200'`)
	result := make(chan error, 1)
	go func() {
		result <- store.Save(context.Background(), old.Lease, relay.Save{Position: "111", Durable: true})
	}()
	within(t, "the save to wait for the row", func() (waits bool) {
		err := db.QueryRow(`SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' AND pid IN ` +
			`(SELECT pid FROM pg_stat_activity WHERE datname = current_database())`).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
		return waits
	})
	tx.Commit()
	if err := <-result; !errors.Is(err, relay.ErrLost) {
		t.Errorf("the save returned %v", err)
	}
	if now := acquire(t, store, "new"); now.Position != "200" {
		t.Errorf("the cursor stands at %q", now.Position)
	}
}

// The epoch survives in the cursor when people delete the lease.
func TestADeletedLeaseBringsNoOldEpochBack(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) (*sql.DB, *sqlstore.Store, string){
		"postgres": func(t *testing.T) (*sql.DB, *sqlstore.Store, string) {
			_, open := postgresDatabase(t)
			db := open(t)
			return db, sqlstore.Postgres(db), "waybill."
		},
		"sqlite": func(t *testing.T) (*sql.DB, *sqlstore.Store, string) {
			db := sqliteFile(t)(t)
			return db, sqlstore.SQLite(db), "waybill_"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store, prefix := open(t)
			old := acquire(t, store, "old")
			exec(t, db, "UPDATE "+prefix+"cursor SET epoch = epoch + 1000000000000")
			exec(t, db, "DELETE FROM "+prefix+"lease")
			if now := acquire(t, store, "new"); now.Lease.Epoch <= old.Lease.Epoch+1000000000000 {
				t.Errorf("epoch %d after %d", now.Lease.Epoch, old.Lease.Epoch+1000000000000)
			}
			if _, err := store.Renew(t.Context(), old.Lease, time.Hour); !errors.Is(err, relay.ErrLost) {
				t.Errorf("the old owner renewed: %v", err)
			}
		})
	}
}

// A process that stops in the middle of a save with parks keeps the cursor row locked: the server must end that, or nobody
// could take over.
func TestAnOwnerPausedInsideASaveLosesItsLocks(t *testing.T) {
	t.Parallel()
	_, open := postgresDatabase(t)
	store, other := sqlstore.Postgres(open(t)), sqlstore.Postgres(open(t))
	old := acquire(t, store, "owner")
	paused, wake, result := make(chan bool), make(chan bool), make(chan error)
	store.Mark = func(context.Context, sqlstore.Querier, []*relay.Message) error {
		close(paused)
		<-wake
		return nil
	}
	go func() {
		result <- store.Save(context.Background(), old.Lease, relay.Save{Position: "1", Published: []*relay.Message{{}}})
	}()
	<-paused
	if now := acquire(t, other, "owner"); now.Position != "" {
		t.Errorf("the new owner starts at %q", now.Position)
	}
	close(wake)
	if err := <-result; err == nil {
		t.Error("the paused save succeeded")
	}
}

func TestAGuardThatFailsIsNoLostLease(t *testing.T) {
	t.Parallel()
	_, open := postgresDatabase(t)
	db := open(t)
	store := sqlstore.Postgres(db)
	old := acquire(t, store, "a")
	now := acquire(t, store, "a")
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, of := range []struct {
		lease relay.Lease
		guard sqlstore.Guard
		want  error
	}{
		{now.Lease, sqlstore.Guard{SQL: `$5::int = 1 OR $6 = ''`, Args: []any{1, "x"}}, nil},
		{now.Lease, sqlstore.Guard{SQL: `$5::int = 1`, Args: []any{2}}, sqlstore.ErrGuard},
		{old.Lease, sqlstore.Guard{SQL: `$5::int = 1`, Args: []any{1}}, relay.ErrLost},
		{old.Lease, sqlstore.Guard{SQL: `$5::int = 1 OR true`, Args: []any{2}}, relay.ErrLost},
	} {
		for _, park := range [][]relay.Parked{nil, {{Message: relay.Message{Pos: 1}, Lane: "k", State: relay.StateHeld}}} {
			err := store.SaveOn(t.Context(), conn, of.lease, relay.Save{Position: "1", Park: park}, of.guard)
			if !errors.Is(err, of.want) || err != nil && of.want == nil {
				t.Errorf("guard %q with %v returned %v, want %v", of.guard.SQL, of.guard.Args, err, of.want)
			}
		}
	}
}

// The common save is the cursor alone: one statement that says by itself whether its commit waits for the disk.
func TestSavesThatAreNotDurableDoNotWaitForTheDisk(t *testing.T) {
	t.Parallel()
	testenv.NeedPostgres(t)
	cluster := testenv.StartPostgres(t, testenv.PostgresConfig{Settings: []string{"wal_writer_delay=10s"}})
	_, open := postgresAt(t, cluster.URL())
	store := sqlstore.Postgres(open(t))
	tenure := acquire(t, store, "a")
	for _, save := range []relay.Save{{Position: "durable", Durable: true}, {Position: "lazy"}} {
		if err := store.Save(t.Context(), tenure.Lease, save); err != nil {
			t.Fatal(err)
		}
	}
	cluster.Crash()
	cluster.Restart()
	within(t, "the server to answer again", func() bool {
		now, err := store.Acquire(t.Context(), relay.Claim{Relay: "r", Owner: "a", TTL: time.Hour})
		if err == nil && now.Position != "durable" {
			t.Errorf("after the crash the cursor stands at %q", now.Position)
		}
		return err == nil
	})
}

// The role of a relay may do all that the store does, and the flagged source too.
func TestTheRelayRoleIsEnough(t *testing.T) {
	t.Parallel()
	dsn, open := postgresDatabase(t)
	if err := schema.ApplyRoles(t.Context(), open(t), dialect.Postgres); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, "pgx", dsn+"&options=-c%20role%3Dwaybill_relay")
	store := newFlagged(t, db, dialect.Postgres, flagged.Config{})
	tenure := acquire(t, store, "a")
	reader, err := store.Open(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	tx := begin(t, open(t), dialect.Postgres, "waybill.outbox_flagged")
	tx.exec("SET LOCAL synchronous_commit = off")
	tx.Publish(message("1"))
	tx.Commit()
	batch, err := reader.Read(t.Context(), relay.Budget{Messages: 10, Bytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	aside := relay.Parked{Message: batch.Messages[0], Lane: "k", State: relay.StateHeld}
	for _, save := range []relay.Save{
		{Position: "1", Park: []relay.Parked{aside}},
		{Retried: []relay.Parked{aside}},
		{Unpark: []relay.Parked{aside}, Published: []*relay.Message{&aside.Message}, Durable: true},
	} {
		if err := store.Save(t.Context(), tenure.Lease, save); err != nil {
			t.Error(err)
		}
	}
	_, renewed := store.Renew(t.Context(), tenure.Lease, time.Hour)
	for _, err := range []error{renewed, store.Release(t.Context(), tenure.Lease)} {
		if err != nil {
			t.Error(err)
		}
	}
}
