package sink_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/kafka"
)

func TestAnOldOwnerCannotWriteAfterTheNewOne(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	fencedOff(t, k.kafkaConsumer, k.sink(t, kafka.Config{TransactionalID: "relay-1"}), k.sink(t, kafka.Config{TransactionalID: "relay-1"}))
}

func TestAnOldOwnerCannotWriteToApacheKafkaAfterTheNewOne(t *testing.T) {
	t.Parallel()
	k := testenv.StartKafka(t, testenv.KafkaConfig{})
	c := realConsumer(k, "orders")
	c.create(t, 4, 1, c.topic, nil)
	open := func() relay.Fencer { return realSink(t, k, kafka.Config{TransactionalID: "relay-1"}) }
	fencedOff(t, c, open(), open())
}

// Coordinators with transaction.version=1 never take back an epoch that they made to end a transaction.
func TestTheOwnerOutlivesATransactionThatFailed(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2"} {
		t.Run("transaction.version="+version, func(t *testing.T) {
			t.Parallel()
			k := testenv.StartKafka(t, testenv.KafkaConfig{Features: []string{"transaction.version=" + version}})
			c, small := realConsumer(k, "orders"), "4000"
			c.create(t, 1, 1, c.topic, map[string]*string{"max.message.bytes": &small})
			sink := realSink(t, k, kafka.Config{TransactionalID: "relay-1"})
			sink.Fence(1)
			for round := range 3 {
				messages := many(c.topic, 10*round, 10*round+10)
				messages[5].Payload = make([]byte, 5_000)
				for i, err := range send(t, sink, time.Minute, messages...) {
					if want := map[bool]string{true: "rejected", false: "confirmed"}[i == 5]; class(err) != want {
						t.Fatalf("round %d, message %d: %v, want %s", round, i, err, want)
					}
				}
			}
			if got := c.stored(t, 27); len(got) != 27 {
				t.Errorf("%d are stored", len(got))
			}
		})
	}
}

// fencedOff plays two owners of one relay, who both publish to "orders".
func fencedOff(t *testing.T, c *kafkaConsumer, first, second relay.Fencer) {
	t.Helper()
	publish := func(who relay.Fencer, id string) error {
		return send(t, who.(relay.Sink), time.Minute, message("orders", id))[0]
	}
	must := func(who relay.Fencer, id string) {
		t.Helper()
		if err := publish(who, id); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	lost := func(who relay.Fencer, id string) {
		t.Helper()
		if err := publish(who, id); !errors.Is(err, relay.ErrLost) || class(err) != "temporary" {
			t.Fatalf("%s: %v", id, err)
		}
	}
	first.Fence(1)
	must(first, "1")
	second.Fence(2)
	must(first, "2") // Fence alone tells nobody
	must(second, "3")
	lost(first, "late-1")
	lost(first, "late-2")
	must(second, "4") // who lost it did not take it back
	first.Fence(3)
	must(first, "5")
	lost(second, "late-3")
	got := map[string]int{}
	for _, p := range c.stored(t, 5) {
		got[p.ID]++
	}
	for _, id := range []string{"1", "2", "3", "4", "5"} {
		if got["orders/"+id] != 1 {
			t.Errorf("%s is stored %d times", id, got["orders/"+id])
		}
	}
	if len(got) != 5 {
		t.Errorf("stored %v", got)
	}
}

func TestATransactionThatDoesNotEndShowsNothingAndIsDoneAgain(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	sink := k.sink(t, kafka.Config{TransactionalID: "relay-1"})
	sendAll(t, sink, run("orders", "one", 0, 10))
	for n, key := range []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.EndTxn, kmsg.DescribeTransactions} {
		trouble := k.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.CoordinatorNotAvailable, Count: -1})
		messages := run("orders", "one", 10*n+10, 10*n+20)
		for i, err := range send(t, sink, 500*time.Millisecond, messages...) {
			if class(err) != "temporary" && (key != kmsg.InitProducerID || err != nil) { // the id was taken before
				t.Errorf("%s, message %d: %v", kmsg.NameForKey(int16(key)), i, err)
			}
		}
		trouble.Remove()
		sendAll(t, sink, messages)
	}
	last := ""
	for _, p := range k.stored(t, 60) {
		if p.ID == last {
			t.Errorf("%s follows itself", p.ID)
		}
		last = p.ID
	}
}

func TestATransactionWhoseEndIsAskedForInVainIsNotDoneAgain(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	sink := k.sink(t, kafka.Config{TransactionalID: "relay-1"})
	k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeTransactions}, Err: kerr.CoordinatorLoadInProgress, Count: 6})
	messages := run("orders", "one", 0, 10)
	sendAll(t, sink, messages)
	k.wantStored(t, ids(messages))
}

func TestAnOwnerThatWasIdleUntilItsIDWasForgottenTakesItAnew(t *testing.T) {
	t.Parallel()
	k := testenv.StartKafka(t, testenv.KafkaConfig{Settings: []string{
		"transactional.id.expiration.ms=1000", "transaction.remove.expired.transaction.cleanup.interval.ms=100"}})
	c := realConsumer(k, "orders")
	c.create(t, 1, 1, c.topic, nil)
	admin := c.admin(t)
	first, second := realSink(t, k, kafka.Config{TransactionalID: "relay-1"}), realSink(t, k, kafka.Config{TransactionalID: "relay-1"})
	forgotten := func() {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			ids, err := admin.ListTransactions(t.Context(), nil, nil)
			if err == nil && len(ids) == 0 {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%v, %v", ids, err)
			}
		}
	}
	sendAll(t, first, run(c.topic, "one", 0, 1))
	forgotten()
	sendAll(t, first, run(c.topic, "one", 1, 2))
	forgotten()
	sendAll(t, second, run(c.topic, "one", 2, 3))
	if err := send(t, first, time.Minute, message(c.topic, "late"))[0]; !errors.Is(err, relay.ErrLost) {
		t.Errorf("the old owner: %v", err)
	}
	sendAll(t, second, run(c.topic, "one", 3, 4))
	c.wantStored(t, ids(run(c.topic, "one", 0, 4)))
}

func TestATenureThatBeginsWhileTheIDIsTakenTakesItOnceMore(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	sink := k.sink(t, kafka.Config{TransactionalID: "relay-1"})
	var taken atomic.Int32
	k.ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		if taken.Add(1) == 1 {
			sink.Fence(2)
		}
		return nil, nil, false
	})
	for n := range 3 {
		sendAll(t, sink, run("orders", "one", n, n+1))
	}
	if n := taken.Load(); n != 2 {
		t.Errorf("the id was taken %d times", n)
	}
}
