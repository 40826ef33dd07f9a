package postgres

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/source/postgres"
)

// The broker is away for longer than a send may take: everything waits, no attempt is counted, and it all arrives afterwards.
func TestBrokerOutageUsesNoAttempts(t *testing.T) {
	t.Parallel()
	away := 10 * time.Second
	if long {
		away = time.Minute
	}
	s := newScene(t)
	broker := testenv.StartNATS(t, testenv.NATSConfig{})
	out := newStream(t, broker, "orders")
	sink, err := jetstream.New(broker.URL(), jetstream.Config{})
	s.must(err)
	t.Cleanup(func() { sink.Close() })
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{})
	load := s.load(5)
	out.want("k0-20")
	broker.Stop()
	time.Sleep(away) // the outage
	broker.Restart()
	load.end()
	load.check(t, 1000, out.ids) // what was in flight when the broker went: the stream drops what it has
	if n := s.number(`SELECT pg_stat_get_tuples_inserted('waybill.parked'::regclass) + pg_stat_get_tuples_updated('waybill.parked'::regclass)`); n != 0 {
		t.Errorf("%d messages were set aside", n)
	}
	r.stop()
}

// The same process goes on after the server was restarted in an orderly way, and after it was full.
func TestServerRestartUnderLoad(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresConfig{})
	s := newSceneAt(t, pg.URL())
	sink := &recorder{}
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{Window: 400})
	load := s.load(5)
	restarts := 2
	if long {
		restarts = 10
	}
	for range restarts {
		before := len(sink.ids())
		within(t, "messages to flow", func() bool { return len(sink.ids()) > before+100 })
		pg.Stop()
		pg.Restart()
	}
	before := len(sink.ids())
	within(t, "messages to flow", func() bool { return len(sink.ids()) > before+100 })
	load.end()
	load.check(t, 400*restarts, sink.ids)
	r.stop()
}

// The database's clock is ten minutes ahead, then ten behind, while two processes share the relay: leases are compared by that
// clock alone, and nothing is ordered by time.
func TestWrongClockOfTheDatabaseChangesNothing(t *testing.T) {
	t.Parallel()
	library := testenv.Library(t, "libfaketime", "/usr/lib/*/faketime/libfaketime.so.1", "sudo apt-get install -y libfaketime")
	dir, err := os.MkdirTemp("", "waybill-clock-") // not the test's own folder, which another user cannot enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	clock := filepath.Join(dir, "offset")
	set := func(offset string) {
		t.Helper()
		if err := os.WriteFile(clock, []byte(offset+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	set("+600")
	pg := testenv.StartPostgres(t, testenv.PostgresConfig{Env: []string{
		"LD_PRELOAD=" + library, "FAKETIME_TIMESTAMP_FILE=" + clock, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_RESET=1"}})
	s := newSceneAt(t, pg.URL())
	off := func() time.Duration {
		var now time.Time
		s.must(s.db.QueryRow(`SELECT clock_timestamp()`).Scan(&now))
		return time.Until(now)
	}
	if d := off(); d < 9*time.Minute || d > 11*time.Minute {
		t.Fatalf("the database's clock is off by %v, so this test shows nothing", d)
	}
	sink := &recorder{}
	const lease = 2 * time.Second
	first := s.run(s.source(postgres.Config{}), sink, relay.Config{Lease: lease, Owner: "first", Window: 400})
	first.state("running")
	second := s.run(s.source(postgres.Config{}), sink, relay.Config{Lease: lease, Owner: "second", Window: 400})
	load := s.load(5)
	flow := func() {
		t.Helper()
		before := len(sink.ids())
		within(t, "messages to flow", func() bool { return len(sink.ids()) > before+100 })
	}
	flow()
	time.Sleep(2 * lease) // renewals
	second.state("standby")
	if epoch := first.Status().Epoch; first.Status().State != "running" || epoch != s.number(`SELECT epoch FROM waybill.lease`) {
		t.Errorf("the owner changed: %+v", first.Status())
	}
	set("-600") // the jump
	if d := off(); d > -9*time.Minute {
		t.Fatalf("the database's clock is off by %v after the jump", d)
	}
	flow()
	time.Sleep(lease)
	flow()
	set("+3600") // every lease has run out
	time.Sleep(lease)
	flow()
	first.stop()
	second.state("running")
	flow()
	load.end()
	load.check(t, 800, sink.ids)
	second.stop()
}
