package takeover

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// Whose clock is wrong cannot matter here: the database's clock alone decides when a lease ends, and a process counts its own
// lease on a clock that nobody sets.

func TestAKilledOwnerIsFollowed(t *testing.T) {
	parallel(t)
	for _, n := range []int{2, 5} {
		t.Run(fmt.Sprint(n, " processes"), func(t *testing.T) {
			parallel(t)
			s := newScene(t, lease)
			kills := per(2, 25)
			figures := figures{}
			s.underLoad(t, func() {
				s.startMany(t, n)
				for range kills {
					time.Sleep(rand.N(300 * time.Millisecond)) // any moment will do
					s.killOwners(t, 1+rand.IntN(n/2), figures)
					for len(s.alive()) < n {
						s.start(t)
					}
				}
				t.Logf("after %d kills: %s", kills, s.whoOwns(t))
			})
			s.check(t, kills*len(patterns)*window)
			figures.log(t)
		})
	}
}

// killOwners kills the owners of relays drawn by lot, at most that many processes, and waits until others have published
// something of everything that these owned.
func (s *scene) killOwners(t *testing.T, most int, f figures) {
	t.Helper()
	before := s.owned(t)
	var victims []*process
	for _, now := range before { // in no order
		if !slices.Contains(victims, now.owner) && len(victims) < most {
			victims = append(victims, now.owner)
		}
	}
	killed := time.Now()
	for _, p := range victims {
		p.kill()
	}
	for relay, old := range before {
		if !slices.Contains(victims, old.owner) {
			continue
		}
		var taken, published time.Time
		within(t, "a successor to publish on "+relay, func() bool {
			s.each(t, fmt.Sprintf(`SELECT min(at) FROM leases WHERE relay = '%s-%s' AND epoch > %d HAVING count(*) > 0`, s.name, relay, old.epoch), func(scan func(...any) error) error {
				return scan(&taken)
			})
			if !taken.IsZero() {
				published = s.broker(relay).first(relay, taken)
			}
			return !published.IsZero()
		})
		f.add("until the lease is taken", taken.Sub(killed))
		f.add("until a consumer of "+s.broker(relay).name+" sees a message of the successor", published.Sub(killed))
	}
	s.owned(t)
}

func (s *scene) broker(relay string) *observed {
	if strings.HasPrefix(relay, "js") {
		return s.brokers[0]
	}
	return s.brokers[1]
}

// figures are how long after kill -9 the lease was another's, and how long until a consumer of either broker saw its first message.
type figures map[string][]time.Duration

func (f figures) add(what string, d time.Duration) { f[what] = append(f[what], d) }

func (f figures) log(t *testing.T) {
	for what, list := range f {
		slices.Sort(list)
		at := func(share float64) time.Duration {
			return list[min(len(list)-1, int(share*float64(len(list))))].Round(time.Millisecond)
		}
		t.Logf("takeover of %d relays after kill -9 with a lease of %v, %s: p50 %v, p99 %v, max %v", len(list), lease, what, at(0.5), at(0.99), at(1))
	}
}

func TestAWokenOwnerStepsDown(t *testing.T) {
	parallel(t)
	for _, n := range []int{2, 5} {
		t.Run(fmt.Sprint(n, " processes"), func(t *testing.T) {
			parallel(t)
			s := newScene(t, lease)
			pauses := per(1, 10)
			s.underLoad(t, func() {
				s.startMany(t, n)
				for range pauses {
					s.pauseOwner(t)
				}
				t.Logf("after %d pauses: %s", pauses, s.whoOwns(t))
			})
			s.check(t, 2*pauses*len(patterns)*window)
		})
	}
}

// pauseOwner stops the owner of the most relays for three leases.
func (s *scene) pauseOwner(t *testing.T) {
	t.Helper()
	owned := map[*process][]string{}
	var sleeper *process
	for relay, now := range s.owned(t) {
		owned[now.owner] = append(owned[now.owner], relay)
		if len(owned[now.owner]) > len(owned[sleeper]) {
			sleeper = now.owner
		}
	}
	time.Sleep(rand.N(300 * time.Millisecond)) // any moment will do
	sleeper.pause()
	s.owned(t)
	taken := time.Now()
	for _, relay := range owned[sleeper] {
		within(t, "a successor to publish on "+relay, func() bool { return !s.broker(relay).first(relay, taken).IsZero() })
	}
	time.Sleep(2 * lease) // three in all
	sleeper.wake()
	within(t, "the woken owner to stand by", func() bool {
		states := map[string]int{}
		for _, now := range sleeper.status() {
			states[now.State]++
		}
		return states["standby"] == len(patterns)
	})
}

func TestARollingRestartRepeatsNothing(t *testing.T) {
	parallel(t)
	s := newScene(t, 30*time.Second) // and so 15 s for a send: when a broker on a busy machine is too late, copies are allowed
	const n = 5
	s.underLoad(t, func() {
		s.startMany(t, n)
		for round := range per(2, 6) {
			for _, p := range s.alive() {
				p.awake.Store(false)
				if err := p.Stop(); err != nil {
					t.Errorf("process %d ended with %v", p.number, err)
				}
				s.start(t)
				s.owned(t)
			}
			t.Logf("after round %d: %s", round+1, s.whoOwns(t))
		}
	})
	s.check(t, 0)
}

// Somebody deletes the row of a lease: the next owner comes at once, while the one before still believes in its lease, for
// twenty seconds. It learns better at its next save or renewal, or when Kafka refuses it. Every other time it sleeps while it
// is followed, and wakes up in that belief.
func TestALeaseDeletedByHandMakesNoTwoOwners(t *testing.T) {
	parallel(t)
	s := newScene(t, 20*time.Second)
	s.asked = math.MaxInt // before it starts a process
	deletes := per(6, 60)
	s.underLoad(t, func() {
		s.startMany(t, 2)
		for n := range deletes {
			for relay, old := range s.owned(t) { // one by lot
				if n%2 == 0 {
					old.owner.pause()
				}
				s.exec(t, `DELETE FROM waybill.lease WHERE relay = $1`, s.name+"-"+relay)
				within(t, "a new owner of "+relay, func() bool { return s.tenures(t)[relay].epoch > old.epoch })
				if n%2 == 0 {
					taken := time.Now()
					within(t, "a successor to publish on "+relay, func() bool { return !s.broker(relay).first(relay, taken).IsZero() })
					old.owner.wake()
				}
				break
			}
		}
	})
	s.check(t, deletes*window)
}

// An owner is frozen inside a statement of the source, or its machine has gone without a word: its session stays, with its locks.
func TestASessionThatIsLeftOpenHoldsUpNobody(t *testing.T) {
	parallel(t)
	s := newScene(t, lease)
	s.underLoad(t, func() {
		s.startMany(t, 1)
		for relay := range patterns { // each has been open
			within(t, relay+" to publish", func() bool { return !s.broker(relay).first(relay, time.Time{}).IsZero() })
		}
		left, err := s.db.BeginTx(t.Context(), nil)
		if err == nil {
			_, err = left.ExecContext(t.Context(), `SELECT FROM waybill.log FOR UPDATE`)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer left.Rollback()
		for _, p := range s.alive() {
			p.kill()
		}
		s.startMany(t, 1)
		taken := time.Now()
		for relay := range patterns {
			within(t, "a successor to publish on "+relay, func() bool { return !s.broker(relay).first(relay, taken).IsZero() })
		}
	})
	s.check(t, len(patterns)*window)
}
