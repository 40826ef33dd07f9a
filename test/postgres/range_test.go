package postgres

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// A range goes through its own rows and no others, wherever it lies among a million.
func TestARangeDoesNotDependOnRetainedRows(t *testing.T) {
	t.Parallel()
	s := newTalkingScene(t)
	straggler := s.begin() // its row lies below all others, and becomes visible in the last range
	straggler.run(`INSERT INTO waybill.outbox (id, topic, type) VALUES ('wanted', 'wanted', 't')`)
	const third = 333_334
	now := func() relay.Position { return relay.Position(s.text(`SELECT pg_current_snapshot()::text`)) }
	retain := func() {
		s.exec(`INSERT INTO waybill.outbox (id, topic, key, type, payload) SELECT n, (ARRAY['orders', 'wanted'])[1 + n % 2], n % 100, 'order.changed', 'payload' FROM generate_series(1, $1::int) n`, third)
	}
	type place struct {
		name     string
		from, to relay.Position
		wanted   int
	}
	var places []place
	for i := range 3 {
		retain()
		p := place{name: fmt.Sprint("part ", i), from: now(), wanted: 10}
		for range 10 {
			s.exec(`INSERT INTO waybill.outbox (id, topic, type) SELECT 'wanted', CASE n WHEN 5 THEN 'wanted' ELSE 'orders' END, 't' FROM generate_series(1, 10) n`)
		}
		if i == 2 {
			straggler.commit()
			p.wanted++
		}
		p.to = now()
		places = append(places, p)
	}
	retain() // what came since costs nothing either
	end := now()
	for _, last := range []int{1000, third / 2, 3 * third} { // all is one span to a new relay
		within := func(last int) relay.Position { return relay.Position(fmt.Sprintf("3:3: %d %s", last, end)) }
		places = append(places, place{fmt.Sprint("behind pos ", last), within(last), within(last + 20), 10})
	}
	src := s.source(postgres.Config{From: relay.Now})
	reader, err := src.Open(t.Context(), "")
	s.must(err)
	defer reader.Close()
	for _, statistics := range []bool{false, true} {
		if statistics {
			s.exec(`ANALYZE waybill.outbox`)
		}
		for _, p := range places {
			offset := len(s.logged())
			s.readRange(src, p.from, p.to, p.wanted)
			var walked, pages int
			within(t, "the plans of the range", func() bool { // the last one may still be on its way into the log
				walked, pages = 0, 0
				for _, plan := range s.plans(offset) {
					by, rows := plan.outbox()
					walked += rows
					switch {
					case plan.is(page) && slices.Equal(by, []string{"Index Scan outbox_pkey"}):
						pages++
					case plan.is(bounds) && len(by) == 2 && by[0] == "Index Only Scan outbox_xid_pos" && by[1] == by[0]:
					case len(by) > 0:
						t.Fatalf("%s was read by %q:\n%s", p.name, by, plan.Query)
					}
				}
				return pages > 0
			})
			if walked > 400 {
				t.Errorf("%s (statistics %t): %d rows were gone through for %d", p.name, statistics, walked, p.wanted)
			}
		}
	}
}

func (s *scene) readRange(src relay.Ranger, from, to relay.Position, want int) {
	s.t.Helper()
	r, err := src.OpenRange(s.t.Context(), from, to, "wanted")
	s.must(err)
	defer r.Close()
	n := 0
	for {
		batch, err := r.Read(s.t.Context(), relay.Budget{Messages: 100, Bytes: 1 << 20})
		if errors.Is(err, io.EOF) {
			break
		}
		s.must(err)
		n += len(batch.Messages)
	}
	if n != want {
		s.t.Fatalf("from %s to %s lie %d messages, want %d", from, to, n, want)
	}
}

// A crash gives the numbers in a position that was read and not saved to other transactions. Only the session that gave it tells.
func TestARangeNeedsTheSessionThatGaveItsEnd(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	src := s.source(postgres.Config{})
	if _, err := src.OpenRange(t.Context(), "", "3:3:", "wanted"); err == nil {
		t.Error("a range began without a reader")
	}
	reader, err := src.Open(t.Context(), "")
	s.must(err)
	defer reader.Close()
	s.publish("k", "one")
	batch, err := reader.Read(t.Context(), relay.Budget{Messages: 10, Bytes: 1 << 20})
	s.must(err)
	s.readRange(src, "", batch.Position(1), 0)
	const sessions = ` FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'waybill' AND query LIKE '%waybill.session%'`
	within(t, "the reader's session to be the only one", func() bool { return s.number(`SELECT count(*)`+sessions) == 1 })
	s.exec(`SELECT pg_terminate_backend(pid)` + sessions)
	if r, err := src.OpenRange(t.Context(), "", batch.Position(1), "wanted"); err == nil {
		r.Close()
		t.Error("a range began after the reader's session had ended")
	}
}

// What a branch saw may be newer than what its relay has saved: the save proves for both that no number in them comes again.
func TestABranchCannotBeSavedBeyondTheServersTransactions(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	src := s.source(postgres.Config{})
	tenure, err := src.Acquire(t.Context(), relay.Claim{Relay: "r", Owner: "a", TTL: time.Hour})
	s.must(err)
	reader, err := src.Open(t.Context(), "")
	s.must(err)
	defer reader.Close()
	now := s.number(`SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint`)
	for ahead, want := range map[int64]bool{-1: true, 1_000_000: false} {
		at := relay.Position(fmt.Sprintf("3:3: 5 3:%d:", now+ahead))
		for _, save := range []relay.Save{
			{Branches: []relay.Branch{{Topic: "a", Position: "3:3:"}, {Topic: "b", Position: at}}},
			{Position: "3:3:", Branches: []relay.Branch{{Topic: "b", Position: at}}},
			{Position: at, Branches: []relay.Branch{{Topic: "b", Position: "3:3:"}}},
		} {
			if err := src.Save(t.Context(), tenure.Lease, save); (err == nil) != want {
				t.Errorf("%d beyond: %+v: %v", ahead, save, err)
			}
		}
	}
}

// A takeover hears of the lanes from the index of what is held, however much is parked.
func TestATakeoverDoesNotWalkOverParkedMessages(t *testing.T) {
	t.Parallel()
	s := newTalkingScene(t)
	src := s.source(postgres.Config{})
	_, err := src.Acquire(t.Context(), relay.Claim{Relay: "r", Owner: "a", TTL: time.Hour})
	s.must(err)
	s.exec(`INSERT INTO waybill.parked (relay, pos, incarnation, lane, state, id, topic, type) ` +
		`SELECT 'r', n, 1, 'lane' || n % 1000, CASE WHEN n % 5000 = 0 THEN 'held' ELSE 'parked' END, n, 't', 't' FROM generate_series(1, 50000) n`)
	for _, statistics := range []bool{false, true} {
		if statistics {
			s.exec(`ANALYZE waybill.parked`)
		}
		offset := len(s.logged())
		tenure, err := src.Acquire(t.Context(), relay.Claim{Relay: "r", Owner: "a", TTL: time.Hour})
		s.must(err)
		if len(tenure.Held) != 1 {
			t.Fatalf("the lanes are %q", tenure.Held)
		}
		const lanes kind = "SELECT DISTINCT lane"
		within(t, "the plan", func() bool {
			for _, plan := range s.plans(offset) {
				if !plan.is(lanes) {
					continue
				}
				plan.Plan.walk(func(n node) {
					if n.Table == "parked" && (n.Index != "parked_held" || (n.Rows+n.Removed)*n.Loops > 10) {
						t.Errorf("statistics %t: %s %s went through %.0f rows", statistics, n.Type, n.Index, (n.Rows+n.Removed)*n.Loops)
					}
				})
				return true
			}
			return false
		})
	}
}
