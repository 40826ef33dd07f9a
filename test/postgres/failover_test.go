package postgres

import (
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// either is the URL of two servers, of which the first is asked first.
func either(t *testing.T, first, second *testenv.Postgres) string {
	t.Helper()
	a, err := url.Parse(first.URL())
	if err != nil {
		t.Fatal(err)
	}
	b, err := url.Parse(second.URL())
	if err != nil {
		t.Fatal(err)
	}
	a.Host += "," + b.Host
	return a.String()
}

// at is the same application on another server.
func (s scene) at(pg *testenv.Postgres) *scene {
	s.url, s.db = pg.URL(), openDB(s.t, pg.URL())
	return &s
}

// R6: the incarnation grows with the timeline, which the name of the WAL file tells at once, and the relay goes on from the
// cursor that the standby has.
func TestPromotionIsSeenAtOnceAndTheRelayGoesOn(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresConfig{})
	s := newSceneAt(t, pg.URL())
	standby := pg.Standby(t)
	sink, warnings := &recorder{}, &logBuffer{also: t.Output()}
	logger := slog.New(slog.NewTextHandler(warnings, nil))
	r := s.run(s.sourceAt(either(t, pg, standby), postgres.Config{Logger: logger}), sink, relay.Config{})
	s.publish("k", "before")
	sink.want(t, "before")
	within(t, "the cursor to reach the standby", func() bool { return s.at(standby).cursor().S0.Equal(s.cursor().S0) && s.cursor().S0.Xmax > 3 })

	direct := s.sourceAt(standby.URL(), postgres.Config{})
	if _, err := direct.Acquire(t.Context(), relay.Claim{Relay: "orders", Owner: "me", TTL: time.Minute}); err == nil || !strings.Contains(err.Error(), "WB1011") {
		t.Errorf("acquire on a standby returned %v", err)
	}
	if _, err := direct.Open(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "WB1011") {
		t.Errorf("open on a standby returned %v", err)
	}

	pg.Kill()
	within(t, "the standby to be refused", func() bool { return strings.Contains(r.Status().LastError, "WB1011") })
	n := s.at(standby)
	n.exec(`SELECT pg_promote()`)
	n.publish("k", "after")
	sink.want(t, "after")
	before, after := sink.message(t, "before").Incarnation, sink.message(t, "after").Incarnation
	if after <= before {
		t.Errorf("the incarnation went from %d to %d", before, after)
	}
	if !warnings.contains("WB1024") {
		t.Error("the promotion was not announced")
	}
	if have := sink.ids(); !slices.Equal(have, []string{"before", "after"}) {
		t.Errorf("published %v", have)
	}

	// The old primary comes back: nothing may be read from it.
	pg.Restart()
	s.reconnect()
	s.publish("k", "stray")
	n.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'waybill'`)
	within(t, "the old primary to be refused", func() bool { return r.log.contains("WB1025") })
	pg.Stop()
	n.publish("k", "last")
	sink.want(t, "last")
	if slices.Contains(sink.ids(), "stray") {
		t.Error("a message of the old primary was published")
	}
	r.stop()
}

// The standby had not received the last transactions: their messages have been published, and the numbers come again.
func TestPromotionThatLostTheTailLosesNoNewMessage(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresConfig{})
	s := newSceneAt(t, pg.URL())
	standby := pg.Standby(t)
	sink := &recorder{}
	r := s.run(s.sourceAt(either(t, pg, standby), postgres.Config{}), sink, relay.Config{})
	s.publish("k", "kept")
	sink.want(t, "kept")
	within(t, "the cursor to reach the standby", func() bool { return s.at(standby).cursor().S0.Equal(s.cursor().S0) && s.cursor().S0.Xmax > 3 })
	standby.Stop()
	for _, id := range names("gone", 30) {
		s.publish("k", id)
	}
	sink.want(t, "gone30")
	last := s.number(`SELECT max(xid::text::bigint) FROM waybill.outbox`)
	within(t, "the cursor to pass them", func() bool { return s.cursor().S0.Sees(uint64(last)) })
	// A takeover that the standby does not know, so the cursor there is behind one that this process knows to be durable.
	s.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'waybill'`)
	epoch := r.Status().Epoch
	within(t, "the relay to start anew", func() bool { return r.Status().Epoch > epoch && r.Status().State == "running" })
	seen := s.cursor().S0
	pg.Kill()

	standby.Restart()
	n := s.at(standby)
	n.reconnect()
	n.exec(`SELECT pg_promote()`)
	var first int64
	for _, id := range names("new", 10) {
		tx := n.begin()
		tx.publish("k", id)
		if first == 0 {
			first = tx.xid()
		}
		tx.commit()
	}
	if uint64(first) >= seen.Xmax {
		t.Fatalf("the promoted server gave the number %d, beyond what the old cursor %s had seen: nothing was reused", first, seen)
	}
	sink.want(t, names("new", 10)...)
	gone, fresh := sink.message(t, "gone30"), sink.message(t, "new1")
	if fresh.Incarnation <= gone.Incarnation {
		t.Errorf("incarnation %d follows %d", fresh.Incarnation, gone.Incarnation)
	}
	r.stop()
}
