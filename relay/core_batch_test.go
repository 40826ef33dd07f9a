package relay

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// one makes all messages of a batch of one key.
func one(key string, b Batch) Batch {
	for i := range b.Messages {
		b.Messages[i].Key = key
	}
	return b
}

func (s actSend) ids() (list []string) {
	for _, e := range s.entries {
		list = append(list, e.msg.ID)
	}
	return list
}

func TestOrderedSinkGetsARunOfAKeyInOnePublish(t *testing.T) {
	t.Parallel()
	d := drive(t)
	d.ordered = true
	b := one("k", batch(6))
	b.Messages[4].Topic = "other"
	send, _ := find[actSend](d.happen(evRead{batch: b}))
	if got := send.ids(); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Fatalf("sent %v, want the run of the first topic", got)
	}
	d.happen(evSent{})
	var outcomes []confirmation
	for i, e := range send.entries {
		if i < 2 {
			outcomes = append(outcomes, confirmation{e, nil})
		} else {
			outcomes = append(outcomes, confirmation{e, errors.New("not stored")})
		}
	}
	slices.Reverse(outcomes) // the order of confirmations means nothing
	if again, ok := find[actSend](d.happen(evConfirmed{outcomes[:3]})); ok {
		t.Fatalf("sent %v while one of the key has no outcome", again.ids())
	}
	d.happen(evConfirmed{outcomes[3:]})
	d.now = d.deadline()
	for again, ok := (actSend{}), false; !ok; d.now = max(d.now, d.deadline()) {
		if again, ok = find[actSend](d.happen(evTick{})); ok && !slices.Equal(again.ids(), []string{"2", "3"}) {
			t.Errorf("sent %v, want what was not stored", again.ids())
		}
	}
}

func TestManyKeysShareABatch(t *testing.T) {
	t.Parallel()
	d := drive(t)
	d.ordered, d.maxBatch = true, 20
	b := batch(60)
	for i := range b.Messages {
		b.Messages[i].Key = fmt.Sprint("k", i%4)
	}
	send, _ := find[actSend](d.happen(evRead{batch: b}))
	count := map[string]int{}
	for _, e := range send.entries {
		count[e.msg.Key]++
	}
	if len(send.entries) != 20 || count["k0"] != 5 || count["k3"] != 5 {
		t.Errorf("sent %v", count)
	}
}

func TestTopicsOfOtherRelaysTakeNoRoom(t *testing.T) {
	t.Parallel()
	d := drive(t)
	d.wants = TopicMatcher([]string{"orders.*", "billing"})
	send, _ := find[actSend](d.happen(evRead{batch: batch(1)}))
	if len(send.entries) != 0 || d.skippedN != 1 {
		t.Errorf("sent %v", send.ids())
	}
	b := batch(99)
	b.Messages[3].Topic, b.Messages[90].Topic = "orders.eu", "billing"
	d.happen(evSaved{})
	send, _ = find[actSend](d.happen(evRead{batch: b}))
	if got := send.ids(); !slices.Equal(got, []string{"3", "90"}) || len(d.win) > 3 {
		t.Fatalf("sent %v, %d entries in the window", got, len(d.win))
	}
	d.happen(evSent{})
	d.saving = true
	d.happen(evConfirmed{[]confirmation{{send.entries[1], nil}, {send.entries[0], nil}}})
	d.saving, d.savedAt = false, -savePaceMost
	if save, ok := find[actSave](d.happen(evTick{})); !ok || save.save.Position != "99" {
		t.Errorf("saved %+v, want the position behind what is another relay's", save.save)
	}
}

func TestWhatAPersonAskedForEndsATenureCleanlyAndBeginsAnother(t *testing.T) {
	t.Parallel()
	d := drive(t)
	send, _ := find[actSend](d.happen(evRead{batch: batch(3)}))
	d.happen(evSent{})
	d.happen(evRenewed{sent: d.now, asked: true})
	d.happen(evRead{err: errors.New("quit")})
	save, ok := find[actSave](d.happen(evConfirmed{[]confirmation{{send.entries[0], nil}, {send.entries[1], nil}, {send.entries[2], nil}}}))
	if !ok || !save.save.Durable || save.save.Position != "3" {
		t.Fatalf("saved %+v", save.save)
	}
	list := d.happen(evSaved{})
	if _, ok := find[actAcquire](list); !ok {
		t.Errorf("did %v, want to take the lease anew", list)
	}
	if _, ok := find[actRelease](list); ok {
		t.Error("gave the lease to others")
	}
}

func TestFencedOwnerStepsDown(t *testing.T) {
	t.Parallel()
	d := drive(t)
	send, _ := find[actSend](d.happen(evRead{batch: batch(1)}))
	d.happen(evSent{})
	d.happen(evRead{err: errors.New("quit")})
	d.happen(evConfirmed{[]confirmation{{send.entries[0], fmt.Errorf("the broker knows a newer producer: %w", ErrLost)}}})
	if d.phase != standby {
		t.Errorf("phase %v", d.phase)
	}
}

// e2 and e3 failed behind e1. Then e1 goes alone and is confirmed: that is no failure of theirs.
func TestFollowersFailOnlyOnce(t *testing.T) {
	t.Parallel()
	d := drive(t)
	d.ordered = true
	send, _ := find[actSend](d.happen(evRead{batch: one("k", batch(3))}))
	d.happen(evSent{})
	var outcomes []confirmation
	for _, e := range send.entries {
		outcomes = append(outcomes, confirmation{e, errors.New("no leader")})
	}
	d.happen(evConfirmed{outcomes})
	d.streak = gateAfter
	send = until[actSend](t, d, nil)
	if len(send.entries) != 1 {
		t.Fatalf("sent %v in an outage", send.ids())
	}
	d.happen(evSent{})
	d.happen(evConfirmed{[]confirmation{{send.entries[0], nil}}})
	if d.streak > 0 || d.lastErr != "" {
		t.Errorf("streak %d, %q", d.streak, d.lastErr)
	}
}
