package relay_test

import (
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/sim"
	"github.com/waybillhq/waybill/relay"
)

var (
	simSeed     = flag.Uint64("sim.seed", 0, "tell the story of this one schedule")
	simBroken   = flag.String("sim.broken", "", "bring back the known mistake of this name")
	simWithout  = flag.String("sim.without", "", "leave these faults out, with commas between")
	simMessages = flag.Int("sim.messages", 0, "at most so many messages")
	simN        = flag.Int("sim.n", 0, "so many schedules (2,000 by default, 250,000 with WAYBILL_LONG=1)")
)

// findWithin is how many schedules may pass before a known mistake is found.
const findWithin = 50_000

func newCore(cfg relay.Config, maxBatch int, rnd *rand.Rand, broken string, shell sim.Shell) sim.Core {
	return relay.NewSimCore(cfg, maxBatch, rnd, broken, shell)
}

// A failure names the arguments that tell its story again.
func TestSim(t *testing.T) {
	t.Parallel()
	without, err := sim.ParseFaults(*simWithout)
	if err != nil {
		t.Fatal(err)
	}
	plan := sim.Plan{Seed: *simSeed, Broken: sim.Bug(*simBroken), Without: without, Most: *simMessages}
	if plan.Broken != "" && !slices.Contains(sim.Bugs, plan.Broken) {
		t.Fatalf("no known mistake is named %q. Try: %q", plan.Broken, sim.Bugs)
	}
	if plan.Seed != 0 {
		tell(t, plan)
		return
	}
	n := 2_000
	if os.Getenv("WAYBILL_LONG") != "" {
		n = 250_000
	}
	if *simN > 0 {
		n = *simN
	}
	began := time.Now()
	if broken, seed := search(plan, n); seed > 0 {
		t.Errorf("schedule %d of %d: %v", seed, n, broken)
		runner := sim.NewRunner(newCore)
		defer runner.Close()
		plan.Seed = seed
		tell(t, runner.Shrink(plan))
		return
	}
	t.Logf("%d schedules, %.0f a second", n, float64(n)/time.Since(began).Seconds())
}

// tell fails with the whole story if the schedule breaks a promise, and else logs it.
func tell(t *testing.T, plan sim.Plan) {
	t.Helper()
	runner := sim.NewRunner(newCore)
	defer runner.Close()
	result := runner.Run(plan, true)
	t.Log("\n" + result.Story)
	if result.Err != nil {
		t.Errorf("%v\nreproduce: go test ./relay -run 'TestSim$' %s", result.Err, plan.Repeat())
	}
}

// search runs the seeds 1 to n, on two goroutines, and returns the lowest that breaks a promise; 0: none does.
func search(plan sim.Plan, n int) (broken error, seed uint64) {
	const workers = 2
	var lowest atomic.Uint64
	lowest.Store(uint64(n) + 1)
	type found struct {
		seed uint64
		err  error
	}
	results := make(chan found, workers)
	for w := range workers {
		go func() {
			runner := sim.NewRunner(newCore)
			defer runner.Close()
			p := plan
			for p.Seed = uint64(w) + 1; p.Seed < lowest.Load(); p.Seed += workers {
				if err := runner.Run(p, false).Err; err != nil {
					for old := lowest.Load(); p.Seed < old && !lowest.CompareAndSwap(old, p.Seed); old = lowest.Load() {
					}
					results <- found{p.Seed, err}
					return
				}
			}
			results <- found{}
		}()
	}
	for range workers {
		if f := <-results; f.seed > 0 && (seed == 0 || f.seed < seed) {
			broken, seed = f.err, f.seed
		}
	}
	return broken, seed
}

// A check that cannot fail proves nothing.
func TestSimFindsKnownMistakes(t *testing.T) {
	t.Parallel()
	for _, bug := range sim.Bugs {
		t.Run(string(bug), func(t *testing.T) {
			t.Parallel()
			err, seed := search(sim.Plan{Broken: bug}, findWithin)
			if seed == 0 {
				t.Fatalf("not found in %d schedules", findWithin)
			}
			t.Logf("found by schedule %d: %v", seed, err)
		})
	}
}

func TestSimRepeatsItself(t *testing.T) {
	t.Parallel()
	const n = 500
	first, second := sim.NewRunner(newCore), sim.NewRunner(newCore)
	defer first.Close()
	defer second.Close()
	var hashes [n]uint64
	for i := range n {
		hashes[i] = first.Run(sim.Plan{Seed: uint64(i) + 1}, false).Hash
	}
	for i := n - 1; i >= 0; i-- { // in another order, so that nothing is left over from one schedule to the next
		if second.Run(sim.Plan{Seed: uint64(i) + 1}, false).Hash != hashes[i] {
			t.Errorf("schedule %d went another way the second time", i+1)
		}
	}
	if slices.Compact(slices.Sorted(slices.Values(hashes[:])))[0] == 0 || len(slices.Compact(slices.Sorted(slices.Values(hashes[:])))) < n {
		t.Error("different schedules have the same hash")
	}
}

func TestSimShrinksAFailure(t *testing.T) {
	t.Parallel()
	runner := sim.NewRunner(newCore)
	defer runner.Close()
	plan := sim.Plan{Broken: sim.TwoInFlight}
	for plan.Seed = 1; runner.Run(plan, false).Err == nil; plan.Seed++ {
	}
	small := runner.Shrink(plan)
	if small.Without == 0 || small.Most == 0 {
		t.Errorf("nothing was left out: %s", small.Repeat())
	}
	if result := runner.Run(small, true); result.Err == nil || len(result.Story) == 0 {
		t.Errorf("the smaller schedule breaks nothing: %s", small.Repeat())
	}
	if again, err := sim.ParseFaults(small.Without.String()); err != nil || again != small.Without {
		t.Errorf("%q was read as %q, %v", small.Without, again, err)
	}
}
