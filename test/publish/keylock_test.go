package publish

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
)

// R8: one advisory lock a key ran the server out of shared memory at 100,000 keys.
func TestTheKeyLockOfManyKeysStaysWithinTheLockTable(t *testing.T) {
	t.Parallel()
	d := migratedPostgres(t)
	o := d.newOutbox(t, waybill.Config{KeyLock: true})
	msgs := make([]waybill.Message, 100_000)
	for i := range msgs {
		msgs[i] = waybill.Message{Topic: "t", Type: "n", Key: fmt.Sprint("key ", i)}
	}
	tx := d.begin(t)
	defer tx.Rollback()
	if err := o.Publish(t.Context(), waybill.SQL(tx), msgs...); err != nil {
		t.Fatal(err)
	}
	var locks int
	err := tx.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`).Scan(&locks)
	if err != nil || locks != 256 {
		t.Errorf("%d locks (%v), want 256", locks, err)
	}
}

// A second publisher of the key draws its pos only after the first has committed, even when the first is slow.
func TestPublishersOfOneKeyWaitForEachOtherBeforePosIsDrawn(t *testing.T) {
	t.Parallel()
	d := migratedPostgres(t)
	o := d.newOutbox(t, waybill.Config{KeyLock: true})
	message := func(id, key string) waybill.Message { return waybill.Message{ID: id, Topic: "t", Type: "n", Key: key} }
	second, done := d.begin(t), make(chan error, 1)
	defer second.Rollback() // after the first's, which it may wait for
	first := d.begin(t)
	defer first.Rollback()
	if err := o.Publish(t.Context(), waybill.SQL(first), message("1", "k")); err != nil {
		t.Fatal(err)
	}

	go func() {
		done <- o.Publish(context.Background(), waybill.SQL(second), message("3", "k"), message("4", "l"))
	}()
	d.until(t, `SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)

	// Another key does not wait, and a further message of the first takes the pos that the waiting one has not drawn.
	d.publish(t, o, message("other", "another"))
	if err := o.Publish(t.Context(), waybill.SQL(first), message("2", "k")); err != nil {
		t.Fatal(err)
	}
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := second.Commit(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range d.stored(t) {
		ids = append(ids, m.ID)
	}
	if got := strings.Join(ids, " "); got != "1 other 2 3 4" {
		t.Errorf("pos order is %s", got)
	}
}

// Two transactions that publish many keys in opposite order take their locks sorted, and so never wait in a ring.
func TestKeyLocksAreTakenInOneOrder(t *testing.T) {
	t.Parallel()
	d := migratedPostgres(t)
	o := d.newOutbox(t, waybill.Config{KeyLock: true})
	done := make(chan error, 4)
	for worker := range 4 {
		go func() {
			for range 20 {
				msgs := make([]waybill.Message, 300)
				for i := range msgs {
					key := i
					if worker%2 == 1 {
						key = len(msgs) - i
					}
					msgs[i] = waybill.Message{Topic: "t", Type: "n", Key: fmt.Sprint(key)}
				}
				tx, err := d.db.BeginTx(context.Background(), nil)
				if err == nil {
					if err = o.Publish(context.Background(), waybill.SQL(tx), msgs...); err == nil {
						err = tx.Commit()
					}
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// The lock that docs/sql-contract.md gives to producers in other languages is the same lock.
func TestTheLockOfTheSQLContractIsTheSame(t *testing.T) {
	t.Parallel()
	d := migratedPostgres(t)
	tx := d.begin(t)
	defer tx.Rollback()
	if err := d.newOutbox(t, waybill.Config{KeyLock: true}).Publish(t.Context(), waybill.SQL(tx), waybill.Message{Topic: "t", Type: "n", Key: "Größe 42"}); err != nil {
		t.Fatal(err)
	}
	var free bool
	const lock = `SELECT pg_try_advisory_xact_lock(1466005858, get_byte(sha256(convert_to($1, 'UTF8')), 0))`
	if err := d.db.QueryRowContext(t.Context(), lock, "Größe 42").Scan(&free); err != nil || free {
		t.Errorf("the key's lock is free: %v, %v", free, err)
	}
}

// until waits until a query returns true.
func (d database) until(t *testing.T, query string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		var yes bool
		if err := d.db.QueryRowContext(t.Context(), query).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		if yes {
			return
		}
	}
	t.Fatalf("never true: %s", query)
}
