package relay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
)

// driven is a core whose shell is the test.
type driven struct {
	*core
	now time.Duration
}

func drive(t *testing.T, held ...string) *driven {
	t.Helper()
	cfg, err := Config{Name: "r", Source: struct{ Source }{}, Store: struct{ Store }{}, Sink: struct{ Sink }{}, Window: 100, WindowBytes: 1 << 20}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	d := &driven{core: newCore(cfg, 1000, rand.New(rand.NewPCG(1, 2)))}
	d.happen(evTick{})
	d.happen(evAcquired{tenure: Tenure{Lease: Lease{"r", "o", 1}, Held: held}})
	d.happen(evOpened{})
	return d
}

func (d *driven) happen(ev event) []action {
	d.now += time.Millisecond
	return d.step(d.now, ev)
}

func find[A action](list []action) (found A, ok bool) {
	for _, a := range list {
		if a, ok := a.(A); ok {
			return a, true
		}
	}
	return found, false
}

// batch holds one message of each of n keys.
func batch(n int) Batch {
	b := Batch{Position: func(n int) Position { return Position(fmt.Sprint(n)) }}
	for i := range n {
		b.Messages = append(b.Messages, Message{Message: waybill.Message{ID: fmt.Sprint(i), Topic: "t", Type: "t", Key: fmt.Sprint("k", i)}, Pos: int64(i + 1)})
	}
	return b
}

func TestCleanStopPassesAKeyThatFailsAlone(t *testing.T) {
	t.Parallel()
	d := drive(t)
	send, ok := find[actSend](d.happen(evRead{batch: batch(20)}))
	if !ok || len(send.entries) != 20 {
		t.Fatalf("sent %v", send)
	}
	d.happen(evSent{})
	outcomes := []confirmation{{send.entries[0], errors.New("no leader")}}
	for _, e := range send.entries[1:] {
		outcomes = append(outcomes, confirmation{e, nil})
	}
	d.happen(evConfirmed{outcomes})
	d.happen(evStop{})
	save, ok := find[actSave](d.happen(evRead{}))
	if !ok || save.save.Position != "20" || len(save.save.Park) != 1 || !save.save.Durable {
		t.Errorf("the last save is %+v: the next owner would repeat 19 messages", save.save)
	}
}

func TestHeldMessagesInMemoryAreBounded(t *testing.T) {
	t.Parallel()
	var lanes []string
	for i := range 1000 {
		lanes = append(lanes, fmt.Sprint("=k", i))
	}
	d := drive(t, lanes...)
	d.now += 2 * time.Second // every lane wants its messages
	d.happen(evTick{})
	loads := 0
	for ; d.loading; loads++ {
		rows := make([]Parked, d.toLoad[0].takes)
		for i := range rows {
			rows[i] = Parked{Message: batch(1).Messages[0]}
			rows[i].Payload = make([]byte, 10_000)
		}
		d.happen(evHeld{rows: rows})
	}
	if loads == 0 || d.loaded > d.cfg.WindowBytes/4+20_000 {
		t.Errorf("%d bytes in memory after %d loads, with a window of %d", d.loaded, loads, d.cfg.WindowBytes)
	}
}

func TestStopPolicySavesWhatIsConfirmed(t *testing.T) {
	t.Parallel()
	d := drive(t)
	d.cfg.OnRejected = Stop
	send, _ := find[actSend](d.happen(evRead{batch: batch(3)}))
	d.happen(evSent{})
	d.saving = true // so that nothing is saved before the relay stops
	d.happen(evConfirmed{[]confirmation{{send.entries[0], nil}, {send.entries[1], nil}, {send.entries[2], Rejected(errors.New("too large"))}}})
	d.saving = false
	if save, ok := find[actSave](d.happen(evRead{})); !ok || save.save.Position != "2" {
		t.Errorf("saved %+v", save)
	}
	if done, ok := find[actDone](d.happen(evSaved{})); !ok || done.err == nil {
		t.Error("the relay goes on")
	}
}

func TestSourceThatDoesNotOpenIsAskedLessAndLess(t *testing.T) {
	t.Parallel()
	d := drive(t)
	d.happen(evRead{err: errors.New("gone")})
	for range 10 {
		for d.phase == standby && !d.acquiring {
			d.now = max(d.now, d.deadline())
			d.happen(evTick{})
		}
		d.happen(evAcquired{tenure: Tenure{Lease: Lease{"r", "o", 2}}})
		d.happen(evOpened{err: errors.New("no table")})
	}
	if d.fails < 10 {
		t.Errorf("back-off as after %d failures", d.fails)
	}
}

func TestOutageDoesNotLengthenTheWaitOfWhatIsSetAsideAfterIt(t *testing.T) {
	t.Parallel()
	d := drive(t)
	d.happen(evRead{batch: batch(1)})
	e := d.win[0]
	for range 30 { // a long outage
		e.state, e.lane.flying = inFlight, 1
		d.inflight = 1
		d.onConfirmed(e, errors.New("no connection"))
		d.waiting = nil
	}
	e.state, e.lane.flying = inFlight, 1
	d.inflight = 1
	d.onConfirmed(e, Topic(errors.New("no stream")))
	if wait := e.lane.until - d.core.now; wait > 2*time.Second {
		t.Errorf("set aside for %v", wait)
	}
}
