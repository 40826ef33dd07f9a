package stress

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/internal/testenv"
)

// scene is a stage beside a broker with a stream that stores every copy: deduplication would hide what the relay does.
type scene struct {
	*stage
	name string // of the kind
	nats *testenv.NATS
}

func newScene(t *testing.T, name string) *scene {
	t.Helper()
	k := kinds[name]
	s := &scene{newStage(t, k, k.database(t)), name, testenv.StartNATS(t, testenv.NATSConfig{})}
	s.stream(t, func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders"}, Duplicates: 100 * time.Millisecond})
		return err
	})
	return s
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
	cmd.Env = append(os.Environ(), "WAYBILL_STRESS_RELAY="+owner, "WAYBILL_STRESS_KIND="+s.name, "WAYBILL_STRESS_SOURCE="+s.url,
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
	want := Total(t.Context(), t, s.db)
	var seen int
	defer func() {
		if t.Failed() {
			t.Logf("%d of %d committed messages arrived", seen, want)
		}
	}()
	within(t, "the backlog to drain", func() bool {
		seen = s.observe(t).Count()
		return seen >= want
	})
}

func (s *scene) check(t *testing.T, bound int) {
	t.Helper()
	v := s.observe(t).Check(Committed(t.Context(), t, s.db))
	t.Log(v)
	if !v.OK() {
		t.Error("the promise is broken")
	}
	if v.Duplicates > bound {
		t.Errorf("%d duplicates, at most %d allowed", v.Duplicates, bound)
	}
}

// underLoad runs f while the load writes without end.
func (s *scene) underLoad(t *testing.T, f func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s.load.Per = math.MaxInt
	var loading sync.WaitGroup
	loading.Go(func() { s.load.Run(ctx, t) })
	defer loading.Wait()
	defer cancel()
	f()
}

func TestRelayKilledAtRandomMomentsLosesNothing(t *testing.T) {
	t.Parallel()
	for name, kills := range map[string]int{
		"postgres cursor": per(5, 20), "postgres flagged": per(3, 20), "sqlite cursor": per(2, 20), "sqlite flagged": per(1, 20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, name)
			s.underLoad(t, func() {
				for n := range kills {
					p := s.process(t, fmt.Sprintf("p%d", n), time.Second)
					p.WaitOutput(t, "state=running")
					within(t, "the load to go on", func() bool { return Total(t.Context(), t, s.db) > 100*n })
					time.Sleep(rand.N(300 * time.Millisecond)) // any moment will do
					p.Kill()
				}
			})
			s.process(t, "last", time.Second)
			s.drained(t)
			s.check(t, window*kills)
		})
	}
}

func TestCleanStopLeavesNoDuplicates(t *testing.T) {
	t.Parallel()
	for name, stops := range map[string]int{
		"postgres cursor": per(2, 20), "postgres flagged": per(1, 20), "sqlite cursor": per(1, 20), "sqlite flagged": per(1, 20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, name)
			s.underLoad(t, func() {
				for n := range stops {
					p := s.process(t, fmt.Sprintf("p%d", n), 10*time.Second)
					p.WaitOutput(t, "state=running")
					time.Sleep(rand.N(200 * time.Millisecond)) // any moment will do
					if err := p.Stop(); err != nil {
						t.Errorf("the relay process ended with %v", err)
					}
				}
			})
			s.process(t, "last", 10*time.Second)
			s.drained(t)
			s.check(t, 0)
		})
	}
}

func TestPausedLeaderStepsDownWhenItWakes(t *testing.T) {
	t.Parallel()
	s := newScene(t, "postgres cursor")
	const lease = time.Second
	first := s.process(t, "first", lease)
	first.WaitOutput(t, "state=running owner=first")
	second := s.process(t, "second", lease)
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		s.load.Run(t.Context(), t)
	}()
	within(t, "messages to arrive", func() bool { return s.observe(t).Count() > 50 })
	first.Pause()
	within(t, "the second to take over", func() bool { return strings.Contains(second.Output(), "state=running owner=second") })
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
