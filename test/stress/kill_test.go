package stress

import (
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/testenv"
)

// scene is a stage beside a broker, for relay processes.
type scene struct {
	*stage
	name   string // of the kind
	broker *broker
}

func newScene(t *testing.T, kind, broker string) *scene {
	t.Helper()
	k := kinds[kind]
	s := newStage(t, k, k.database(t))
	return &scene{s, kind, startBroker(t, broker, s.load.Topic)}
}

// process starts a relay process.
func (s *scene) process(t *testing.T, owner string, lease time.Duration) *testenv.Process {
	t.Helper()
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WAYBILL_STRESS_RELAY="+owner, "WAYBILL_STRESS_KIND="+s.name, "WAYBILL_STRESS_SOURCE="+s.url,
		"WAYBILL_STRESS_BROKER="+s.broker.kind, "WAYBILL_STRESS_SINK="+s.broker.url, "WAYBILL_STRESS_LEASE="+lease.String())
	return testenv.Start(t, cmd)
}

// finish waits until everything committed has arrived by way of p, the last process, and ends it.
func (s *scene) finish(t *testing.T, p *testenv.Process, bound int) Verdict {
	t.Helper()
	s.arrive(t, s.broker.observe, "everything committed")
	if err := p.Stop(); err != nil {
		t.Errorf("the last relay process ended with %v", err)
	}
	return s.check(t, s.broker.observe(t), bound)
}

// path is from where to where, and how often a relay on it is ended.
type path struct {
	kind, broker string
	ends         int
}

func (p path) String() string { return p.kind + " to " + p.broker }

func TestRelayKilledAtRandomMomentsLosesNothing(t *testing.T) {
	t.Parallel()
	for _, path := range []path{
		{"postgres cursor", "jetstream", per(5, 20)}, {"postgres flagged", "jetstream", per(3, 20)},
		{"sqlite cursor", "jetstream", per(2, 20)}, {"sqlite flagged", "jetstream", per(1, 20)},
		{"postgres cursor", "kafka", per(3, 20)}, {"postgres cursor", "kafka with a fence", per(3, 20)}, {"postgres cursor", "rabbitmq", per(3, 20)},
	} {
		t.Run(path.String(), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, path.kind, path.broker)
			s.underLoad(t, func() {
				for n := range path.ends {
					p := s.process(t, fmt.Sprintf("p%d", n), time.Second)
					p.WaitOutput(t, "state=running")
					within(t, "the load to go on", func() bool { return Total(t.Context(), t, s.db) > 100*n })
					time.Sleep(rand.N(300 * time.Millisecond)) // any moment will do
					p.Kill()
				}
			})
			s.finish(t, s.process(t, "last", time.Second), window*path.ends)
		})
	}
}

func TestCleanStopLeavesNoDuplicates(t *testing.T) {
	t.Parallel()
	for _, path := range []path{
		{"postgres cursor", "jetstream", per(2, 20)}, {"postgres flagged", "jetstream", per(1, 20)},
		{"sqlite cursor", "jetstream", per(1, 20)}, {"sqlite flagged", "jetstream", per(1, 20)},
		{"postgres cursor", "kafka", per(2, 20)}, {"postgres cursor", "kafka with a fence", per(1, 20)}, {"postgres cursor", "rabbitmq", per(2, 20)},
	} {
		t.Run(path.String(), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, path.kind, path.broker)
			s.underLoad(t, func() {
				for n := range path.ends {
					p := s.process(t, fmt.Sprintf("p%d", n), 10*time.Second)
					p.WaitOutput(t, "state=running")
					time.Sleep(rand.N(200 * time.Millisecond)) // any moment will do
					if err := p.Stop(); err != nil {
						t.Errorf("the relay process ended with %v", err)
					}
				}
			})
			s.finish(t, s.process(t, "last", 10*time.Second), 0)
		})
	}
}

func TestPausedLeaderStepsDownWhenItWakes(t *testing.T) {
	t.Parallel()
	for _, path := range []path{{"postgres cursor", "jetstream", 1}, {"postgres cursor", "kafka", 1}, {"postgres cursor", "kafka with a fence", 1}} {
		t.Run(path.String(), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, path.kind, path.broker)
			const lease = time.Second
			first := s.process(t, "first", lease)
			first.WaitOutput(t, "state=running owner=first")
			second := s.process(t, "second", lease)
			loaded := make(chan struct{})
			go func() {
				defer close(loaded)
				s.load.Run(t.Context(), t)
			}()
			within(t, "messages to arrive", func() bool { return s.broker.observe(t).Count() > 50 })
			first.Pause()
			within(t, "the second to take over", func() bool { return strings.Contains(second.Output(), "state=running owner=second") })
			time.Sleep(2 * lease) // three lease times in all, with the second at work
			first.Continue()
			first.WaitOutput(t, "state=standby owner=second")
			<-loaded
			s.arrive(t, s.broker.observe, "everything committed")
			var owner string
			if err := s.db.QueryRow(`SELECT owner FROM waybill.lease WHERE relay = 'stress'`).Scan(&owner); err != nil || owner != "second" {
				t.Errorf("the owner is %q, %v", owner, err)
			}
			first.Kill()
			if v := s.finish(t, second, 2*window); path.broker == "kafka with a fence" && v.Stale > 0 {
				t.Errorf("%d keys end with an old version", v.Stale)
			}
		})
	}
}
