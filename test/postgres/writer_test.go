package postgres

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// FAULTS 1 and 2: writers are cut off at any moment, some of them inside COMMIT, and never learn what became of it. Published is
// what the table has.
func TestWritersCutOffAtAnyMoment(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	g := newGate(t, s.url)
	app := openDB(t, g.url)
	sink := &recorder{}
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	unknown := make([]int, 6)
	for w := range unknown {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				tx, err := app.Begin()
				if err != nil {
					continue
				}
				err = s.outbox.Publish(t.Context(), waybill.SQL(tx), waybill.Message{ID: fmt.Sprintf("w%d-%d", w, n), Topic: "orders", Key: fmt.Sprint(w), Type: "t"})
				if err == nil && tx.Commit() != nil {
					unknown[w]++
				}
				tx.Rollback()
			}
		})
	}
	for range 20 {
		before := len(sink.ids())
		within(t, "messages to flow", func() bool { return len(sink.ids()) > before+20 })
		g.shut()
		g.open()
	}
	close(stop)
	wg.Wait()
	within(t, "cut off sessions to end", func() bool {
		return s.number(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = '' AND pid <> pg_backend_pid() AND state <> 'idle'`) == 0
	})
	var committed []string
	rows, err := s.db.Query(`SELECT id FROM waybill.outbox ORDER BY id`)
	s.must(err)
	for rows.Next() {
		var id string
		s.must(rows.Scan(&id))
		committed = append(committed, id)
	}
	s.must(rows.Err())
	sink.want(t, committed...)
	r.stop()
	if have := slices.Sorted(slices.Values(sink.ids())); !slices.Equal(have, committed) {
		t.Errorf("%d messages published, %d in the table", len(have), len(committed))
	}
	t.Logf("%d messages; %v commits per writer ended without an answer", len(committed), unknown)
}

// FAULTS 11: the application tries a transaction again that the server refused. What was refused leaves no message.
func TestSerializationFailuresLeaveOneMessage(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.exec(`CREATE TABLE account (n int); INSERT INTO account VALUES (0)`)
	sink := &recorder{}
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{})
	const writers, per = 4, 25
	var wg sync.WaitGroup
	var mu sync.Mutex
	failures := 0
	for range writers {
		wg.Go(func() {
			for done := 0; done < per; {
				err := func() error {
					tx, err := s.db.Begin()
					if err != nil {
						return err
					}
					defer tx.Rollback()
					var n int
					if _, err = tx.Exec(`SET TRANSACTION ISOLATION LEVEL SERIALIZABLE`); err == nil {
						err = tx.QueryRow(`SELECT n + 1 FROM account`).Scan(&n)
					}
					if err == nil {
						err = s.outbox.Publish(t.Context(), waybill.SQL(tx), waybill.Message{ID: fmt.Sprint("v", n), Topic: "orders", Key: "k", Type: "t"})
					}
					if err == nil {
						_, err = tx.Exec(`UPDATE account SET n = $1`, n)
					}
					if err != nil {
						return err
					}
					return tx.Commit()
				}()
				var refused *pgconn.PgError
				switch {
				case err == nil:
					done++
				case errors.As(err, &refused) && refused.Code == "40001":
					mu.Lock()
					failures++
					mu.Unlock()
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	want := names("v", writers*per)
	sink.want(t, want...)
	r.stop()
	if have := sink.ids(); !slices.Equal(have, want) {
		t.Errorf("published %v", have)
	}
	if failures == 0 {
		t.Error("no transaction was refused, so this test shows nothing")
	}
}

// FAULTS 13: rows of one COPY share everything but pos. Processes come and go in the middle of it, each at another row.
func TestCopyIsReadOnAtEveryRow(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	const n = 300
	conn, err := s.db.Conn(t.Context())
	s.must(err)
	s.must(conn.Raw(func(c any) error {
		_, err := c.(*stdlib.Conn).Conn().CopyFrom(t.Context(), pgx.Identifier{"waybill", "outbox"}, []string{"id", "topic", "key", "type"},
			pgx.CopyFromSlice(n, func(i int) ([]any, error) { return []any{fmt.Sprint(i), "orders", "k", "t"}, nil }))
		return err
	}))
	s.must(conn.Close())
	next := 0
	for process := 0; next < n; process++ {
		source := s.source(postgres.Config{})
		tenure, err := source.Acquire(t.Context(), relay.Claim{Relay: "orders", Owner: "me", TTL: time.Minute})
		s.must(err)
		reader, err := source.Open(t.Context(), tenure.Position)
		s.must(err)
		batch, err := reader.Read(t.Context(), relay.Budget{Messages: 20, Bytes: 1 << 20})
		s.must(err)
		for i, m := range batch.Messages {
			if m.ID != fmt.Sprint(next+i) {
				t.Fatalf("process %d read %s, want %d", process, m.ID, next+i)
			}
		}
		done := 1 + process%len(batch.Messages) // so many are confirmed when the process dies
		s.must(source.Save(t.Context(), tenure.Lease, relay.Save{Position: batch.Position(done), Durable: process%2 == 0}))
		next += done
		s.must(reader.Close())
		s.must(source.Close())
	}
}
