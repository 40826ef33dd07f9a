package takeover

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/schema"
	"github.com/waybillhq/waybill/test/stress"
)

const (
	lease  = 2 * time.Second
	window = 500
)

// topics stand behind the scene's name; patterns are those of the relays, by the end of the relay's name. Both brokers get all.
var (
	topics   = []string{"orders.eu", "orders.us", "stock", "billing"}
	patterns = map[string][]string{
		"js-orders": {"orders.*"}, "js-rest": {"stock", "billing"},
		"kafka-orders": {"orders.*"}, "kafka-stock": {"stock"}, "kafka-billing": {"billing"},
	}
)

// scene is a database under load, a JetStream and a Kafka that are observed, and the processes that relay.
type scene struct {
	name    string // begins the names of relays and topics: Kafka is shared
	db      *sql.DB
	load    stress.Load
	config  string
	brokers []*observed

	mu        sync.Mutex
	processes []*process // also those that have ended
	asked     int        // how often a process is asked, before it must know that a relay is not its own any more; it had the processor in between, so no clock is needed
	stale     int        // the most answers in a row in which a process took a relay for its own that was not
}

func newScene(t *testing.T, lease time.Duration) *scene {
	t.Helper()
	testenv.NeedKafka(t)
	s := &scene{name: "t" + strings.ToLower(rand.Text()[:8]), asked: 20}
	url := testenv.StartPostgres(t, testenv.PostgresConfig{Memory: true}).Database(t)
	s.prepare(t, url)
	nats, kafka := testenv.StartNATS(t, testenv.NATSConfig{}).URL(), testenv.KafkaBrokers(t)
	s.brokers = []*observed{observeJetStream(t, nats, s.name), observeKafka(t, kafka, s.name)}

	var yaml strings.Builder
	fmt.Fprintf(&yaml, "sources:\n  shop: {url: %q}\nsinks:\n  js: {url: %q, allow_unsafe: true}\n  kafka: {url: \"kafka://%s\", fencing: true, allow_unsafe: true}\nrelays:\n", url, nats, strings.Join(kafka, ","))
	for relay, list := range patterns {
		sink, _, _ := strings.Cut(relay, "-")
		fmt.Fprintf(&yaml, "  %s-%s: {source: shop, sink: %s, lease: %v, send_timeout: %v, window: %d, topics: [%s.%s]}\n", s.name, relay, sink, lease, lease/2, window, s.name, strings.Join(list, ", "+s.name+"."))
	}
	s.config = filepath.Join(t.TempDir(), "waybill.yaml")
	if err := os.WriteFile(s.config, []byte(yaml.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.watch(t)
	return s
}

func (s *scene) prepare(t *testing.T, url string) {
	t.Helper()
	var err error
	if s.db, err = sql.Open("pgx", url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.db.Close() })
	if _, err := schema.Apply(t.Context(), s.db, dialect.Postgres); err != nil {
		t.Fatal(err)
	}
	outbox, err := waybill.New(waybill.Config{Dialect: dialect.Postgres})
	if err != nil {
		t.Fatal(err)
	}
	s.load = stress.Load{DB: s.db, Outbox: outbox, Topic: s.name, Writers: 3, Keys: 24, Per: math.MaxInt, Think: 20 * time.Millisecond, Early: `SELECT pg_current_xact_id()`,
		Begin: func(ctx context.Context, db *sql.DB) (*sql.Tx, error) { return db.BeginTx(ctx, nil) }}
	for _, query := range append(append(stress.Schema, history...), s.spread()) {
		s.exec(t, query)
	}
	for n := range s.load.Keys {
		s.exec(t, fmt.Sprintf(`INSERT INTO counter VALUES ('k%d', 0)`, n))
	}
}

// spread gives the keys different topics: the load knows one.
func (s *scene) spread() string {
	return fmt.Sprintf(`CREATE FUNCTION spread() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		NEW.topic := '%s.' || ('{%s}'::text[])[1 + substr(NEW.key, 2)::int %% %d]; RETURN NEW;
	END $$;
	CREATE TRIGGER spread BEFORE INSERT ON waybill.outbox FOR EACH ROW EXECUTE FUNCTION public.spread()`, s.name, strings.Join(topics, ","), len(topics))
}

func (s *scene) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := s.db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// underLoad runs f while the load writes without end.
func (s *scene) underLoad(t *testing.T, f func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var loading sync.WaitGroup
	loading.Go(func() { s.load.Run(ctx, t) })
	defer loading.Wait()
	defer cancel()
	f()
}

// check waits until both brokers have everything and compares with what was committed.
func (s *scene) check(t *testing.T, duplicates int) {
	t.Helper()
	within(t, "the load's last commits, which nobody waited for", func() (done bool) {
		s.each(t, `SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'waybill' AND pid <> pg_backend_pid() AND state <> 'idle'`,
			func(scan func(...any) error) error { return scan(&done) })
		return done
	})
	total := stress.Total(t.Context(), t, s.db)
	defer func() {
		for _, b := range s.brokers {
			t.Logf("%s: %v", b.name, b.Check(stress.Committed(context.WithoutCancel(t.Context()), t, s.db)))
		}
	}()
	for _, b := range s.brokers {
		within(t, "all messages to arrive at "+b.name, func() bool { return b.Count() >= total })
		if v := b.Check(stress.Committed(t.Context(), t, s.db)); !v.OK() || v.Duplicates > duplicates {
			t.Errorf("%s: %v; at most %d duplicates allowed", b.name, v, duplicates)
		}
		b.settled(t)
	}
	within(t, "nothing to be aside", func() (done bool) { // where a broker was slow, there may be
		s.each(t, `SELECT NOT EXISTS (SELECT FROM waybill.parked) AND NOT EXISTS (SELECT FROM waybill.cursor WHERE branch <> '')`, func(scan func(...any) error) error { return scan(&done) })
		return done
	})
	s.checkHistory(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	byKafka, byDatabase := 0, 0
	for _, p := range s.processes {
		byKafka += strings.Count(p.Output(), "waybill: WB2309")
		byDatabase += strings.Count(p.Output(), `"waybill: WB5001`)
	}
	t.Logf("at most %d answers in a row of a process that did not know yet that it was not the owner; old owners logged that Kafka refused them %d times, and the database %d times", s.stale, byKafka, byDatabase)
}
