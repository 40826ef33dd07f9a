package postgres

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// What cannot work says so, with the line that mends it; and goes on by itself once it is mended, where that is safe.
func TestWhatCannotWorkIsRefusedWithTheRemedy(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]struct {
		broken, code, try string
		fatal             bool
	}{
		"no schema":         {`DROP SCHEMA waybill CASCADE`, "WB1003", "Try: waybill migrate up", false},
		"no outbox":         {`DROP TABLE waybill.outbox CASCADE`, "WB1003", "Try: waybill migrate up", false},
		"no index":          {`DROP INDEX waybill.outbox_xid_pos`, "WB1004", `Try: CREATE INDEX CONCURRENTLY ON "waybill"."outbox" (xid, pos)`, false},
		"a partial index":   {`DROP INDEX waybill.outbox_xid_pos; CREATE INDEX ON waybill.outbox (xid, pos) WHERE pos > 0`, "WB1004", "Try: CREATE INDEX", false},
		"columns swapped":   {`DROP INDEX waybill.outbox_xid_pos; CREATE INDEX ON waybill.outbox (pos, xid)`, "WB1004", "Try: CREATE INDEX", false},
		"numbers in chunks": {`ALTER TABLE waybill.outbox ALTER COLUMN pos SET CACHE 20`, "WB1005", `Try: ALTER TABLE "waybill"."outbox" ALTER COLUMN pos SET CACHE 1`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.exec(of.broken)
			r := s.run(s.source(postgres.Config{}), &recorder{}, relay.Config{})
			var text string
			if of.fatal {
				text = r.fails().Error()
			} else {
				within(t, "an error", func() bool { text = r.Status().LastError; return text != "" })
				if state := r.Status().State; state == "running" {
					t.Errorf("the relay is %s", state)
				}
			}
			if !strings.Contains(text, of.code) || !strings.Contains(text, of.try) {
				t.Errorf("said %q, want %s and %q", text, of.code, of.try)
			}
		})
	}
}

// The remedies work as they are written.
func TestRemediesWork(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	sink := &recorder{}
	s.exec(`DROP INDEX waybill.outbox_xid_pos`)
	s.exec(`ALTER TABLE waybill.outbox ALTER COLUMN pos SET CACHE 20`)
	for _, code := range []string{"WB1004", "WB1005"} {
		source := s.source(postgres.Config{})
		_, err := source.Open(t.Context(), "")
		if err == nil || !strings.Contains(err.Error(), code) {
			t.Fatalf("got %v, want %s", err, code)
		}
		_, line, _ := strings.Cut(err.Error(), "Try: ")
		s.exec(line)
	}
	s.publish("k", "one")
	s.run(s.source(postgres.Config{}), sink, relay.Config{})
	sink.want(t, "one")
}

// R19: an old owner's save waits for the row's lock while the new owner takes over.
func TestSaveThatWaitedForATakeoverIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	open := func(owner string) (*postgres.Source, relay.Tenure, error) {
		source := s.source(postgres.Config{})
		tenure, err := source.Acquire(t.Context(), relay.Claim{Relay: "orders", Owner: owner, TTL: time.Hour})
		if err == nil {
			reader, err := source.Open(t.Context(), tenure.Position)
			s.must(err)
			t.Cleanup(func() { reader.Close() })
		}
		return source, tenure, err
	}
	s.publish("k", names("m", 9)...)
	old, tenure, err := open("old")
	s.must(err)
	s.exec(`UPDATE waybill.lease SET expires_at = now()`) // the old owner was paused for that long

	lock := s.begin() // the takeover stops here, behind its update of the cursor row
	lock.run(`LOCK TABLE waybill.parked IN ACCESS EXCLUSIVE MODE`)
	type result struct {
		source *postgres.Source
		tenure relay.Tenure
		err    error
	}
	taken := make(chan result, 1)
	go func() {
		source, tenure, err := open("new")
		taken <- result{source, tenure, err}
	}()
	waiting := func(query string) func() bool {
		return func() bool {
			return s.number(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1`, query) == 1
		}
	}
	within(t, "the takeover to hold the cursor row", waiting(`%FROM waybill.parked%`))
	saved := make(chan error, 1)
	go func() { saved <- old.Save(t.Context(), tenure.Lease, relay.Save{Position: "3:3: 1 5:5:"}) }()
	within(t, "the old owner's save to wait for the row", waiting(`UPDATE waybill.cursor%`))
	lock.commit()
	now := <-taken
	s.must(now.err)
	s.must(now.source.Save(t.Context(), now.tenure.Lease, relay.Save{Position: "3:3: 2 5:5:"}))
	if err := <-saved; err != relay.ErrLost {
		t.Errorf("the old owner's save returned %v, want ErrLost", err)
	}
	if have := s.text(`SELECT position FROM waybill.cursor`); have != "3:3: 2 5:5:" {
		t.Errorf("the cursor is %q, which the old owner wrote", have)
	}
}

// R10: while a transaction is open anywhere, every save of the cursor leaves a dead row, so there must be few.
func TestSavesAreFewWhileATransactionIsOpen(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	held := newScene(t).begin() // in another database
	held.xid()
	sink := &recorder{}
	source := s.source(postgres.Config{})
	began := time.Now()
	r := s.run(source, sink, relay.Config{})
	s.publish("k", "first")
	sink.want(t, "first")
	n := 0
	for ; time.Since(began) < 2*time.Second; n++ { // the load
		s.publish(fmt.Sprint(n), fmt.Sprint("m", n))
	}
	sink.want(t, fmt.Sprint("m", n-1))
	r.stop()
	took := time.Since(began)
	s.must(source.Close())
	within(t, "the relay's sessions to have told their numbers", func() bool {
		return s.number(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'waybill'`) == 0
	})
	saves := s.number(`SELECT pg_stat_get_xact_tuples_updated('waybill.cursor'::regclass) + pg_stat_get_tuples_updated('waybill.cursor'::regclass)`)
	t.Logf("%d saves for %d messages in %v", saves, n, took)
	// A window half full is saved at once.
	if most := int64(took/(100*time.Millisecond)) + int64(n/5000) + 5; saves > most || saves == 0 {
		t.Errorf("%d saves in %v, want at most %d", saves, took, most)
	}
}
