package telemetry_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/schema"
	"github.com/waybillhq/waybill/source/sqlite"
	"github.com/waybillhq/waybill/waybilltest"
)

// scene is an outbox in SQLite and a broker in memory.
type scene struct {
	t      *testing.T
	db     *sql.DB
	broker waybilltest.Broker
	outbox *waybill.Outbox
}

func newScene(t *testing.T, cfg waybill.Config) *scene {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := schema.Apply(t.Context(), db, dialect.SQLite); err != nil {
		t.Fatal(err)
	}
	cfg.Dialect = dialect.SQLite
	outbox, err := waybill.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &scene{t: t, db: db, outbox: outbox}
}

func (s *scene) publish(ctx context.Context, msgs ...waybill.Message) {
	s.t.Helper()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer tx.Rollback()
	if err := s.outbox.Publish(ctx, waybill.SQL(tx), msgs...); err != nil {
		s.t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		s.t.Fatal(err)
	}
}

// relay runs until stop, which waits for a clean end.
func (s *scene) relay(observer relay.Observer, change func(*relay.Config)) (r *relay.Relay, stop func()) {
	s.t.Helper()
	source, err := sqlite.New(s.db, sqlite.Config{})
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := relay.Config{Name: "orders-main", Source: source, Store: source, Sink: s.broker.Sink(), Observer: observer}
	if change != nil {
		change(&cfg)
	}
	if r, err = relay.New(cfg); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	}
	s.t.Cleanup(stop)
	return r, stop
}

func (s *scene) received(n int) []waybilltest.Received {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	got, err := s.broker.Received(ctx, n)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

// eventually looks often and gives up after a minute.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

var goVersion = runtime.Version()
