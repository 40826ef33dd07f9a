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
	list := d.happen(evRead{batch: batch(40)})
	d.publish(list, func(*Message) error { return Rejected(errors.New("not valid any more")) })
	if d.branch("t") == nil || d.phase != running || d.held > 12 {
		t.Errorf("%d keys aside, phase %v, %d branches", d.held, d.phase, len(d.branches))
	}
	d.now += 10 * time.Minute
	if _, woken := find[actOpenRange](d.happen(evTick{})); woken {
		t.Error("the branch goes on while most of its keys are aside: it would copy them all")
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
