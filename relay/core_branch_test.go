package relay

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"
)

var errNoPlace = Topic(errors.New("no such topic"))

// ranging is a driven core whose source is a Ranger.
func ranging(t *testing.T) *driven {
	d := drive(t)
	d.ranger = true
	return d
}

// publish confirms what was sent: each with nil, or with what refuse says.
func (d *driven) publish(list []action, refuse func(*Message) error) (acts []action) {
	for {
		send, ok := find[actSend](list)
		if !ok {
			return acts
		}
		d.happen(evSent{})
		var outcomes []confirmation
		for _, e := range send.entries {
			outcomes = append(outcomes, confirmation{e, refuse(e.msg)})
		}
		list = d.happen(evConfirmed{outcomes})
		acts = append(acts, list...)
	}
}

// until lets time pass until there is an action of a kind, and answers saves.
func until[A action](t *testing.T, d *driven, list []action) A {
	t.Helper()
	for range 1000 {
		if a, ok := find[A](list); ok {
			return a
		}
		if d.saving {
			list = d.happen(evSaved{})
			continue
		}
		d.now = max(d.now, d.deadline())
		list = d.happen(evTick{})
	}
	t.Fatalf("it never comes: window %d/%d saved %q, awake %+v", d.done, len(d.win), d.saved, d.awake)
	panic("unreachable")
}

func none(*Message) error { return nil }

func TestMissingTopicBecomesABranchAndMergesWhenItAnswers(t *testing.T) {
	t.Parallel()
	d := ranging(t)
	b := batch(10)
	for i := 1; i < 10; i += 2 {
		b.Messages[i].Topic = "missing"
	}
	list := d.publish(d.happen(evRead{batch: b}), func(m *Message) error {
		if m.Topic == "missing" {
			return errNoPlace
		}
		return nil
	})
	save := until[actSave](t, d, list).save
	if len(save.Branches) != 1 || save.Branches[0].Topic != "missing" || len(save.Park) != 0 {
		t.Fatalf("saved %+v, want one branch and nothing set aside", save)
	}
	if save.Position != "10" && d.done != 0 {
		t.Errorf("the cursor stands at %s: it must pass what waits", save.Position)
	}
	more := batch(5)
	more.Position = func(n int) Position { return Position(fmt.Sprint(10 + n)) }
	for i := range more.Messages {
		more.Messages[i].Topic = "missing"
	}
	d.happen(evSaved{})
	if send, sent := find[actSend](d.happen(evRead{batch: more})); sent {
		t.Errorf("sent %v of a topic that waits", send.ids())
	}
	if got := d.stateName(); got != "running" || len(d.branches) != 1 {
		t.Errorf("%s, %d branches", got, len(d.branches))
	}

	opened := until[actOpenRange](t, d, nil)
	if opened.topic != "missing" || opened.to != "15" {
		t.Fatalf("reads again %+v", opened)
	}
	read, _ := find[actReadRange](d.happen(evRangeOpened{}))
	if read.budget.Messages != 1 {
		t.Errorf("reads %d at once before one got through", read.budget.Messages)
	}
	of := func(from, to int) Batch {
		r := Batch{Position: func(n int) Position { return Position(fmt.Sprint(from + n - 1)) }}
		for i := from; i < to; i++ {
			m := batch(1).Messages[0]
			m.ID, m.Topic, m.Pos = fmt.Sprint("again", i), "missing", int64(i)
			r.Messages = append(r.Messages, m)
		}
		return r
	}
	list = d.publish(d.happen(evRange{batch: of(2, 3)}), none)
	if read, _ = find[actReadRange](list); read.budget.Messages < 2 {
		t.Errorf("reads %d at once although it gets through", read.budget.Messages)
	}
	d.publish(d.happen(evRange{batch: of(3, 8)}), none)
	list = d.happen(evRange{err: io.EOF})
	save = until[actSave](t, d, list).save
	for len(save.Merged) == 0 {
		save = until[actSave](t, d, nil).save
	}
	if !slices.Equal(save.Merged, []string{"missing"}) || len(d.branches) != 0 {
		t.Fatalf("saved %+v", save)
	}
	d.happen(evSaved{})
	if send, _ := find[actSend](d.happen(evRead{batch: of(20, 21)})); len(send.entries) != 1 {
		t.Error("a message of the topic is not sent after the branch is over")
	}
}

func TestTopicWithTooManyKeysAsideBecomesABranch(t *testing.T) {
	t.Parallel()
	d := ranging(t)
	d.cfg.MaxHeld = 20
	no := func(*Message) error { return Rejected(errors.New("not valid any more")) }
	d.publish(d.happen(evRead{batch: batch(40)}), no)
	if d.branch("t") == nil || d.phase != running || d.held > 12 {
		t.Fatalf("%d keys aside, phase %v, %d branches", d.held, d.phase, len(d.branches))
	}
	for !d.branch("t").known {
		until[actSave](t, d, nil)
		d.happen(evSaved{})
	}
	d.now = d.branch("t").until + time.Millisecond
	if _, woken := find[actOpenRange](d.happen(evTick{})); woken {
		t.Error("the branch goes on while most of its keys are aside: it would copy them all")
	}
}

// A new owner does not know yet how many keys of a topic are aside: it finds out before the relay has to stop.
func TestBranchWhoseMessagesAreAllRefusedNeverStopsTheRelay(t *testing.T) {
	t.Parallel()
	d := ranging(t)
	d.cfg.MaxHeld = 100
	d.core.startBranches([]Branch{{Topic: "t", Position: "0"}})
	d.saved = "9999999"
	d.now += 2 * time.Second
	list, n := d.happen(evTick{}), 0
	for range 2000 {
		var next []action
		if _, ok := find[actOpenRange](list); ok {
			next = append(next, d.happen(evRangeOpened{})...)
		}
		if _, ok := find[actReadRange](list); ok {
			n++
			b := one(fmt.Sprint("key", n), batch(1))
			b.Messages[0].Pos = int64(n)
			next = append(next, d.happen(evRange{batch: b})...)
		}
		if send, ok := find[actSend](list); ok {
			next = append(next, d.happen(evSent{})...)
			next = append(next, d.happen(evConfirmed{[]confirmation{{send.entries[0], Rejected(errors.New("no"))}}})...)
		}
		if d.saving {
			next = append(next, d.happen(evSaved{})...)
		}
		if d.renewing {
			next = append(next, d.happen(evRenewed{sent: d.now})...)
		}
		if len(next) == 0 {
			d.now = max(d.now, min(d.deadline(), d.now+time.Second))
			next = d.happen(evTick{})
		}
		list = next
		if d.phase != running {
			t.Fatalf("stopped with %d keys aside: %v", d.held, d.endErr)
		}
	}
	if n == 0 {
		t.Error("the branch never woke")
	}
}

// The message fails and waits in a lane of its own; its topic becomes a branch, which reads it again.
func TestKeylessMessageOfABranchIsNotTakenForOneSetAside(t *testing.T) {
	t.Parallel()
	d := drive(t, "=z")
	d.ranger = true
	b := batch(2)
	for i := range b.Messages {
		b.Messages[i].Topic, b.Messages[i].Key = "missing", ""
	}
	first, _ := find[actSend](d.happen(evRead{batch: b}))
	d.happen(evSent{})
	d.happen(evConfirmed{[]confirmation{{first.entries[0], errors.New("no leader")}}})
	again := until[actSend](t, d, nil)
	d.happen(evSent{})
	until[actSave](t, d, d.happen(evConfirmed{[]confirmation{{first.entries[1], errNoPlace}}}))
	d.happen(evSaved{})
	until[actOpenRange](t, d, nil)
	d.happen(evRangeOpened{})
	list := d.happen(evRange{batch: Batch{Messages: b.Messages[:1:1], Position: func(int) Position { return "1" }}})
	list = append(list, d.happen(evConfirmed{[]confirmation{{again.entries[0], errors.New("timeout")}}})...)
	for range 20 {
		if save, ok := find[actSave](list); ok && len(save.save.Branches) == 1 && save.save.Branches[0].Position == "1" && len(save.save.Park) == 0 && d.publishedN == 0 {
			t.Fatalf("saved behind a message that is neither confirmed nor aside: %+v", save.save)
		}
		if d.saving {
			list = d.happen(evSaved{})
			continue
		}
		d.now = max(d.now, d.deadline())
		list = d.happen(evTick{})
	}
}

func TestBranchesNeedASourceThatReadsAgain(t *testing.T) {
	t.Parallel()
	d := drive(t)
	d.phase, d.ranger = standby, false
	d.onAcquired(evAcquired{tenure: Tenure{Lease: Lease{"r", "o", 2}, Branches: []Branch{{Topic: "missing"}}}})
	if d.phase != draining || d.end != endFatal {
		t.Errorf("phase %v, end %v: it would read a range from a source that cannot", d.phase, d.end)
	}
}

// Both stand at the same place, and only the pace of ranges is waited for.
func TestRelayDoesNotStandStillForABranchThatIsThere(t *testing.T) {
	t.Parallel()
	d := ranging(t)
	d.core.startBranches([]Branch{{Topic: "missing", Position: "0"}})
	d.saved = "5"
	passed := func(n int) {
		d.happen(evRead{batch: Batch{Position: func(int) Position { return Position(fmt.Sprint(n)) }}})
	}
	until[actOpenRange](t, d, nil)
	d.happen(evRangeOpened{})
	passed(6)
	d.happen(evRange{err: io.EOF})
	until[actOpenRange](t, d, nil)
	d.happen(evRangeOpened{})
	passed(7)
	d.happen(evRange{err: io.EOF})
	for d.saving {
		d.happen(evSaved{})
	}
	if d.merging && d.deadline()-d.now > time.Second {
		t.Error("nothing is under way or read")
	}
}

func TestMoreTopicsThanMayWaitStopTheRelay(t *testing.T) {
	t.Parallel()
	d := ranging(t)
	d.cfg.MaxHeld = 5
	b := batch(10)
	for i := range b.Messages {
		b.Messages[i].Topic = fmt.Sprint("t", i)
	}
	d.publish(d.happen(evRead{batch: b}), func(*Message) error { return errNoPlace })
	if d.phase != draining || d.end != endHalt {
		t.Errorf("phase %v, end %v", d.phase, d.end)
	}
}

func TestWithoutARangerATopicIsSetAsideByCopy(t *testing.T) {
	t.Parallel()
	d := drive(t)
	list := d.publish(d.happen(evRead{batch: batch(3)}), func(*Message) error { return errNoPlace })
	if save := until[actSave](t, d, list).save; len(save.Park) != 3 || len(save.Branches) != 0 {
		t.Errorf("saved %+v", save)
	}
}
