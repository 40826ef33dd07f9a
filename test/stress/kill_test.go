package stress

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/schema"
)

// scene is a database with the load's tables and a broker with a stream that stores every copy: deduplication would hide
// what the relay does.
type scene struct {
	url   string
	db    *sql.DB
	load  Load
	nats  *testenv.NATS
	relay string // connection string of the relay processes
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{url: testenv.Database(t), nats: testenv.StartNATS(t, testenv.NATSConfig{})}
	s.relay = s.url
	s.db = openPostgres(t, s.url)
	s.load = prepare(t, s.db)
	s.stream(t, func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders"}, Duplicates: 100 * time.Millisecond})
		return err
	})
	return s
}

func prepare(t *testing.T, db *sql.DB) Load {
	t.Helper()
	if _, err := schema.Apply(t.Context(), db, dialect.Postgres); err != nil {
		t.Fatal(err)
	}
	exec(t, db, Schema)
	outbox, err := waybill.New(waybill.Config{Dialect: dialect.Postgres})
	if err != nil {
		t.Fatal(err)
	}
	return Load{DB: db, Outbox: outbox, Writers: 12, Keys: 40, Per: per(60, 600), Early: `SELECT pg_current_xact_id()`, Think: 4 * time.Millisecond,
		Begin: func(ctx context.Context, db *sql.DB) (*sql.Tx, error) { return db.BeginTx(ctx, nil) }}
}

func (s *scene) stream(t *testing.T, f func(context.Context, jetstream.JetStream) error) {
	t.Helper()
	nc, err := nats.Connect(s.nats.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f(ctx, js); err != nil {
		t.Fatal(err)
	}
}

// process starts a relay process.
func (s *scene) process(t *testing.T, owner string, lease time.Duration) *testenv.Process {
	t.Helper()
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WAYBILL_STRESS_RELAY="+owner, "WAYBILL_STRESS_SOURCE="+s.relay,
		"WAYBILL_STRESS_SINK="+s.nats.URL(), "WAYBILL_STRESS_LEASE="+lease.String())
	return testenv.Start(t, cmd)
}

// observe reads the whole stream, as an independent consumer.
func (s *scene) observe(t *testing.T) *Observer {
	t.Helper()
	o := NewObserver()
	s.stream(t, func(ctx context.Context, js jetstream.JetStream) error {
		stream, err := js.Stream(ctx, "ORDERS")
		if err != nil {
			return err
		}
		left := stream.CachedInfo().State.Msgs
		consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
		for err == nil && left > 0 {
			var batch jetstream.MessageBatch
			if batch, err = consumer.Fetch(int(min(left, 1000))); err != nil {
				break
			}
			for m := range batch.Messages() {
				o.See(m.Headers().Get("Nats-Msg-Id"), m.Data())
				left--
			}
			err = batch.Error()
		}
		return err
	})
	return o
}

// drained waits until everything committed is in the stream.
func (s *scene) drained(t *testing.T) {
	t.Helper()
	want := Committed(t.Context(), t, s.db, "waybill.outbox").Total()
	var seen int
	defer func() {
		if t.Failed() {
			t.Logf("%d of %d committed messages arrived", seen, want)
		}
	}()
	within(t, time.Minute, "the backlog to drain", func() bool {
		seen = s.observe(t).Count()
		return seen >= want
	})
}

func (s *scene) check(t *testing.T, bound int) {
	t.Helper()
	v := s.observe(t).Check(Committed(t.Context(), t, s.db, "waybill.outbox"))
	t.Log(v)
	if !v.OK() {
		t.Error("the promise is broken")
	}
	if v.Duplicates > bound {
		t.Errorf("%d duplicates, at most %d allowed", v.Duplicates, bound)
	}
}

func TestRelayKilledAtRandomMomentsLosesNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	kills := per(5, 20)
	s.load.Per *= 4
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		s.load.Run(t.Context(), t)
	}()
	for n := range kills {
		p := s.process(t, fmt.Sprintf("p%d", n), time.Second)
		p.WaitOutput(t, "state=running")
		time.Sleep(rand.N(300 * time.Millisecond)) // any moment will do
		p.Kill()
	}
	<-loaded
	s.process(t, "last", time.Second)
	s.drained(t)
	s.check(t, window*kills)
}

func TestCleanStopLeavesNoDuplicates(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		s.load.Run(t.Context(), t)
	}()
	for n := range 3 {
		p := s.process(t, fmt.Sprintf("p%d", n), 10*time.Second)
		p.WaitOutput(t, "state=running")
		time.Sleep(rand.N(200 * time.Millisecond)) // any moment will do
		if err := p.Stop(); err != nil {
			t.Errorf("the relay process ended with %v", err)
		}
	}
	<-loaded
	s.process(t, "last", 10*time.Second)
	s.drained(t)
	s.check(t, 0)
}

func TestPausedLeaderStepsDownWhenItWakes(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	const lease = time.Second
	first := s.process(t, "first", lease)
	first.WaitOutput(t, "state=running owner=first")
	second := s.process(t, "second", lease)
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		s.load.Run(t.Context(), t)
	}()
	within(t, time.Minute, "messages to arrive", func() bool { return s.observe(t).Count() > 50 })
	first.Pause()
	within(t, 10*lease, "the second to take over", func() bool { return strings.Contains(second.Output(), "state=running owner=second") })
	time.Sleep(2 * lease) // three lease times in all, with the second at work
	first.Continue()
	first.WaitOutput(t, "state=standby owner=second")
	<-loaded
	s.drained(t)
	var owner string
	if err := s.db.QueryRow(`SELECT owner FROM waybill.lease WHERE relay = 'stress'`).Scan(&owner); err != nil || owner != "second" {
		t.Errorf("the owner is %q, %v", owner, err)
	}
	s.check(t, 2*window)
}
