package postgres

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// copyData copies a stopped server's folder over another, owners kept.
func copyData(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

// The folder of a server is replaced by an older copy while the relay's process lives: new transactions get numbers that
// the process has seen end.
func TestRestoredDataStopsTheRelayThatRemembers(t *testing.T) {
	t.Parallel()
	for name, behind := range map[string]int{"before the first save": 0, "after some saves": 3} {
		if behind > 0 && !long {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg := testenv.StartPostgres(t, testenv.PostgresConfig{})
			s := newSceneAt(t, pg.URL())
			data := s.text(`SHOW data_directory`)
			backup := filepath.Join(filepath.Dir(data), filepath.Base(data)+"-backup")
			t.Cleanup(func() { os.RemoveAll(backup) })
			g := newGate(t, pg.URL())
			sink := &recorder{}
			if behind == 0 {
				g.shut()
			}
			r := s.run(s.sourceAt(g.url, postgres.Config{}), sink, relay.Config{})
			s.publish("k", names("old", behind)...)
			sink.want(t, names("old", behind)...)
			within(t, "the cursor to be saved", func() bool { return behind == 0 || s.cursor().S0.Xmax > 3 })
			pg.Stop()
			copyData(t, data, backup)
			pg.Restart()
			s.reconnect()
			g.open()
			for _, id := range names("lost", 30) {
				s.publish("k", id)
			}
			sink.want(t, names("lost", 30)...)
			last := s.number(`SELECT max(xid::text::bigint) FROM waybill.outbox`)
			within(t, "the cursor to pass them", func() bool { return s.cursor().S0.Sees(uint64(last)) })
			epoch := r.Status().Epoch
			s.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'waybill'`)
			within(t, "a takeover, whose cursor is durable", func() bool { return r.Status().Epoch > epoch && r.Status().State == "running" })
			s.publish("k", "more") // published only when the reader is open, at that cursor
			sink.want(t, "more")

			pg.Stop()
			copyData(t, backup, data)
			pg.Restart()
			s.reconnect()
			s.publish("k", "new")
			if err := r.fails(); !relay.IsFatal(err) || !strings.Contains(err.Error(), "WB1023") {
				t.Errorf("the relay ended with %v, want WB1023", err)
			}
			if have := sink.ids(); slices.Contains(have, "new") {
				t.Errorf("a message was published from the restored database: %v", have)
			}
		})
	}
}

// R7: a dump taken into another cluster keeps rows whose numbers mean nothing there: they would surface long after, all at once.
func TestDumpRestoredInAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	old, fresh := newScene(t), testenv.StartPostgres(t, testenv.PostgresConfig{Foreign: true})
	for range 50 { // so that the numbers here are in the future there
		tx := old.begin()
		tx.xid()
		old.must(tx.Rollback())
	}
	sink := &recorder{}
	r := old.run(old.source(postgres.Config{}), sink, relay.Config{})
	old.publish("k", "published")
	sink.want(t, "published")
	r.stop()
	old.publish("k", "waiting")

	bin := filepath.Dir(old.text(`SELECT setting || '/x' FROM pg_config WHERE name = 'BINDIR'`))
	target := fresh.Database(t)
	out, err := exec.Command("sh", "-c", fmt.Sprintf(`%s/pg_dump -d %q | %s/psql -X -q -v ON_ERROR_STOP=1 -d %q`, bin, old.url, bin, target)).CombinedOutput()
	if err != nil {
		t.Fatalf("dump and restore: %v\n%s", err, out)
	}
	s := &scene{t: t, url: target, db: openDB(t, target), outbox: old.outbox}
	hidden := s.number(`SELECT count(*) FROM waybill.outbox WHERE NOT pg_visible_in_snapshot(xid, pg_current_snapshot())`)
	if hidden == 0 {
		t.Fatal("every row's number is in the new cluster's past, so this test shows nothing")
	}
	copied := &recorder{}
	r = s.run(s.source(postgres.Config{}), copied, relay.Config{})
	if err := r.fails(); !relay.IsFatal(err) || !strings.Contains(err.Error(), "WB1022") {
		t.Errorf("the relay ended with %v, want WB1022", err)
	}
	if have := copied.ids(); len(have) > 0 {
		t.Errorf("published %v", have)
	}
}

// A cursor from another server, put into a fresh schema by hand, is in the future: nothing may be skipped in silence.
func TestCursorFromTheFutureIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.exec(`INSERT INTO waybill.cursor (relay, epoch, position) VALUES ('orders', 1, '9000000000:9000000000:')`)
	s.publish("k", "one")
	r := s.run(s.source(postgres.Config{}), &recorder{}, relay.Config{})
	if err := r.fails(); !relay.IsFatal(err) || !strings.Contains(err.Error(), "WB1021") {
		t.Errorf("the relay ended with %v, want WB1021", err)
	}
}
