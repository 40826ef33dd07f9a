package stress

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
)

// The server dies without flushing, under load. Half of the transactions commit with synchronous_commit=off: those that had
// not reached the disk are gone, and must not have been published; the numbers of lost and of rolled-back transactions
// come again, and nothing may hide behind them.
func TestPostgresCrashUnderLoadLosesAndInventsNothing(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresConfig{Settings: []string{"wal_writer_delay=500ms", "restart_after_crash=on"}})
	s := newStage(t, kinds["postgres cursor"], pg.Database(t))
	load := s.load
	load.Per *= 3
	load.Broken = func(error) bool { return true } // the server is away now and then
	load.Begin = func(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			time.Sleep(rand.N(20 * time.Millisecond)) // the server is starting
			return nil, err
		}
		if rand.IntN(2) == 0 {
			_, err = tx.ExecContext(ctx, `SET LOCAL synchronous_commit = off`)
		}
		return tx, err
	}
	exec(t, s.db, `ALTER SYSTEM SET synchronous_commit = on`)

	observer := NewObserver()
	s.startRelay(t, relay.Config{Name: "stress", Sink: Sink{observer}, Window: window})
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		load.Run(t.Context(), t)
	}()
	crashes := per(3, 20)
	for range crashes {
		before := observer.Count()
		within(t, "messages to flow", func() bool {
			select {
			case <-loaded:
				return true
			default:
				return observer.Count() > before+100
			}
		})
		time.Sleep(rand.N(50 * time.Millisecond)) // any moment will do
		if rand.IntN(2) == 0 {
			pg.Crash()
		} else {
			pg.Kill()
		}
		pg.Restart()
	}
	<-loaded
	s.arrive(t, func(*testing.T) *Observer { return observer }, "everything committed")
	s.check(t, observer, window*crashes)
}
