package stress

import (
	"context"
	"database/sql"
	"log/slog"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/waybillhq/waybill/relay"
)

// per is the size of a load: short in every test run, long when WAYBILL_LONG is set.
func per(short, long int) int {
	if os.Getenv("WAYBILL_LONG") != "" {
		return long
	}
	return short
}

// stage is a database with Waybill's tables and the load's.
type stage struct {
	kind
	url  string
	db   *sql.DB
	load Load
}

func newStage(t *testing.T, k kind, url string) *stage {
	t.Helper()
	s := &stage{kind: k, url: url, db: k.open(t, url)}
	s.load = k.prepare(t, s.db)
	return s
}

// arrive waits until as much has arrived as is committed.
func (s *stage) arrive(t *testing.T, observe func(*testing.T) *Observer, what string) {
	t.Helper()
	var seen, want int
	defer func() {
		if seen < want {
			t.Logf("%d of %d committed messages have arrived", seen, want)
		}
	}()
	within(t, what+" to arrive", func() bool {
		seen, want = observe(t).Count(), Total(t.Context(), t, s.db)
		return seen >= want
	})
}

// check compares what arrived with what was committed.
func (s *stage) check(t *testing.T, o *Observer, bound int) Verdict {
	t.Helper()
	v := o.Check(Committed(t.Context(), t, s.db))
	t.Log(v)
	if !v.OK() {
		t.Error("the promise is broken")
	}
	if v.Duplicates > bound {
		t.Errorf("%d duplicates, at most %d allowed", v.Duplicates, bound)
	}
	return v
}

// underLoad runs f while the load writes without end.
func (s *stage) underLoad(t *testing.T, f func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s.load.Per = math.MaxInt
	var loading sync.WaitGroup
	loading.Go(func() { s.load.Run(ctx, t) })
	defer loading.Wait()
	defer cancel()
	f()
}

func exec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

func begin(t *testing.T, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

func run(t *testing.T, tx *sql.Tx, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if _, err := tx.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
}

// running is a relay in this process.
type running struct {
	*relay.Relay
	stop func()
}

// startRelay runs a relay in this process until the test or stop ends it; a relay that fails fails the test.
func (s *stage) startRelay(t *testing.T, cfg relay.Config) running {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	src, end, err := s.read(s.url, cfg.Logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	cfg.Source, cfg.Store = src, src
	r, err := relay.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the relay ended: %v", err)
		}
	}
	t.Cleanup(stop)
	return running{r, stop}
}

// patience is longer than anything healthy takes on a loaded machine.
var patience = time.Duration(per(1, 5)) * time.Minute

// within polls a condition; it fails the test when the condition does not come true in time.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
