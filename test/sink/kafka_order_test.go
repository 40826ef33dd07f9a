package sink_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/kafka"
)

// run is a series of messages of one key.
func run(topic, key string, from, to int) []*relay.Message {
	list := many(topic, from, to)
	for _, m := range list {
		m.Key = key
	}
	return list
}

// refuse makes the fake answer err to produce requests for partitions of "orders"; none: all.
func (k *fakeKafka) refuse(err *kerr.Error, count int, partitions ...int32) *kfake.FaultHandle {
	return k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Partitions: partitions, Err: err, Count: count})
}

// The reason why the sink does not use the client's own producer, idempotent as it is.
func TestThePlainProducerStoresWhatFollowsARefusedRecord(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	producer, err := k.client(kgo.DefaultProduceTopic("orders"), kgo.ProducerBatchMaxBytes(2_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	outcomes := make([]error, 50)
	for i := range outcomes {
		value := make([]byte, 1_000)
		if i == 3 {
			value = make([]byte, 3_000) // which the client refuses
		}
		producer.Produce(t.Context(), &kgo.Record{Key: []byte("one"), Value: value}, func(_ *kgo.Record, err error) { outcomes[i] = err })
	}
	if err := producer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if failed := outcomes[i] != nil; failed != (i == 3) {
			t.Errorf("record %d: %v", i, outcomes[i])
		}
	}
}

func TestNothingIsStoredBehindAFailureOfItsKeyWhateverTheFailure(t *testing.T) {
	t.Parallel()
	for _, config := range []kafka.Config{{MaxBatchBytes: 2_000}, {MaxBatchBytes: 2_000, TransactionalID: "relay-1"}} {
		for _, fault := range []*kerr.Error{
			kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.TopicAuthorizationFailed,
			kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch, kerr.UnknownServerError,
			kerr.ClusterAuthorizationFailed, kerr.PolicyViolation, kerr.UnsupportedForMessageFormat, kerr.InvalidTxnState,
		} {
			t.Run(fmt.Sprint(fault.Message, " fence ", config.TransactionalID), func(t *testing.T) {
				t.Parallel()
				k := startFakeKafka(t)
				sink := k.sink(t, config)
				want := ids(run("orders", "one", 0, 3))
				for _, err := range send(t, sink, time.Minute, run("orders", "one", 0, 3)...) {
					if err != nil {
						t.Fatal(err)
					}
				}
				for count := range 12 { // one more each time, so that it meets each batch
					k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: fault, Count: 1, When: func(kmsg.Request) bool { count--; return count < 0 }})
					messages := run("orders", "one", 100*(count+1), 100*(count+1)+40)
					want = append(want, prefix(t, messages, send(t, sink, 5*time.Second, messages...))...)
				}
				k.wantStored(t, want)
			})
		}
	}
}

// prefix returns the ids of what was confirmed, and wants none behind the first failure.
func prefix(t *testing.T, messages []*relay.Message, errs []error) (stored []string) {
	t.Helper()
	first := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	for i, err := range errs {
		switch {
		case err == nil && first >= 0 && i > first:
			t.Errorf("message %d is confirmed, and message %d before it: %v", i, first, errs[first])
		case err == nil:
			stored = append(stored, messages[i].ID)
		case i > first && class(err) != "temporary":
			t.Errorf("message %d behind a failure: %v", i, err)
		}
	}
	return stored
}

func ids(messages []*relay.Message) (list []string) {
	for _, m := range messages {
		list = append(list, m.ID)
	}
	return list
}

// wantStored wants exactly these in one partition, in this order.
func (c *kafkaConsumer) wantStored(t *testing.T, want []string) {
	t.Helper()
	var got []string
	for _, p := range c.stored(t, len(want)) {
		got = append(got, p.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("stored %d: %q\nwant %d: %q", len(got), got, len(want), want)
	}
}

func TestWhatMayPassIsTriedAgainInOrderAndStoredOnce(t *testing.T) {
	t.Parallel()
	for _, config := range []kafka.Config{{MaxBatchBytes: 2_000}, {MaxBatchBytes: 2_000, TransactionalID: "relay-1"}} {
		for _, fault := range []*kerr.Error{
			kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.FencedLeaderEpoch, kerr.UnknownTopicOrPartition, kerr.NotEnoughReplicas,
			kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, kerr.KafkaStorageError, kerr.NetworkException, kerr.ThrottlingQuotaExceeded,
		} {
			t.Run(fmt.Sprint(fault.Message, " fence ", config.TransactionalID), func(t *testing.T) {
				t.Parallel()
				k := startFakeKafka(t)
				k.refuse(fault, 3)
				messages := run("orders", "one", 0, 40)
				for i, err := range send(t, k.sink(t, config), time.Minute, messages...) {
					if err != nil {
						t.Fatalf("message %d: %v", i, err)
					}
				}
				k.wantStored(t, ids(messages))
			})
		}
	}
}

func TestOnlyTheMessageThatTheBrokerRefusesIsRejected(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	small := "4000"
	k.create(t, 1, 3, "small", map[string]*string{"max.message.bytes": &small})
	for _, config := range []kafka.Config{{}, {TransactionalID: "relay-1"}} {
		messages := many("small", 0, 100)
		for i, m := range messages {
			m.Key = fmt.Sprint("key-", i)
		}
		for _, i := range []int{0, 37, 38, 99} {
			messages[i].Payload = make([]byte, 5_000)
		}
		for i, err := range send(t, k.sink(t, config), time.Minute, messages...) {
			want := "confirmed"
			if len(messages[i].Payload) == 5_000 {
				want = "rejected"
			}
			if class(err) != want {
				t.Errorf("message %d: %v, want %s", i, err, want)
			}
		}
	}
}

func TestOnlyTheFirstOfAKeyIsRejectedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	messages := append(run("orders", "one", 0, 4), run("orders", "", 4, 6)...)
	for _, i := range []int{1, 2, 4, 5} {
		messages[i].Headers = []waybill.Header{{Name: "ce_id", Value: "x"}}
	}
	for i, err := range send(t, startFakeKafka(t).sink(t, kafka.Config{}), time.Minute, messages...) {
		if want := []string{"confirmed", "rejected", "temporary", "temporary", "rejected", "rejected"}[i]; class(err) != want {
			t.Errorf("message %d: %v, want %s", i, err, want)
		}
	}
}

func TestAPartitionInTroubleHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for _, config := range []kafka.Config{{}, {TransactionalID: "relay-1"}} {
		t.Run("fence "+config.TransactionalID, func(t *testing.T) {
			t.Parallel()
			k := startFakeKafka(t)
			sink := k.sink(t, config)
			messages := many("orders", 0, 400)
			for i, m := range messages {
				m.Key = fmt.Sprint("key-", i%40)
			}
			for i, err := range send(t, sink, time.Minute, messages...) {
				if err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
			}
			of := map[string]int32{}
			for _, p := range k.stored(t, 400) {
				of[p.Key] = p.partition
			}
			trouble := k.refuse(kerr.NotEnoughReplicas, -1, 1)
			for i, err := range send(t, sink, 2*time.Second, messages...) {
				want := "confirmed"
				if of[messages[i].Key] == 1 {
					want = "temporary"
				}
				if class(err) != want {
					t.Errorf("message %d of partition %d: %v", i, of[messages[i].Key], err)
				}
			}
			trouble.Remove()
			for i, err := range send(t, sink, time.Minute, messages...) {
				if err != nil {
					t.Errorf("message %d, when the trouble is over: %v", i, err)
				}
			}
		})
	}
}
