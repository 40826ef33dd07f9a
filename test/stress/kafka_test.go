package stress

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybillhq/waybill/internal/testenv"
)

func sharedKafka(t *testing.T, topic string) *broker {
	t.Helper()
	return kafkaTopic(t, testenv.KafkaBrokers(t), topic, nil)
}

func kafkaClient(brokers []string, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.RetryTimeout(5 * time.Second)}, options...)...)
}

// kafkaTopic makes the topic with as many replicas as the cluster has as default.
func kafkaTopic(t *testing.T, brokers []string, topic string, settings map[string]*string) *broker {
	t.Helper()
	admin, err := kafkaClient(brokers)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := kadm.NewClient(admin).CreateTopic(t.Context(), 4, -1, settings, topic); err != nil {
		t.Fatalf("create topic %q: %v", topic, err)
	}
	next := map[int32]int64{}
	return &broker{kind: "kafka", url: strings.Join(brokers, ","), seen: NewObserver(), read: func(ctx context.Context, see func(string, []byte)) error {
		reader, err := kafkaClient(brokers, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
		if err != nil {
			return err
		}
		defer reader.Close()
		ends, err := kadm.NewClient(reader).ListCommittedOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return err
		}
		from, left := map[int32]kgo.Offset{}, 0
		ends.Each(func(end kadm.ListedOffset) {
			if n := end.Offset - next[end.Partition]; n > 0 {
				from[end.Partition] = kgo.NewOffset().At(next[end.Partition])
				left++
			}
		})
		reader.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
		for left > 0 {
			fetches := reader.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return err
			}
			fetches.EachRecord(func(r *kgo.Record) {
				end, _ := ends.Lookup(topic, r.Partition)
				if next[r.Partition] < end.Offset && r.Offset+1 >= end.Offset {
					left--
				}
				next[r.Partition] = r.Offset + 1
				if r.Attrs.IsControl() {
					return
				}
				for _, h := range r.Headers {
					if h.Key == "ce_id" {
						see(string(h.Value), r.Value)
					}
				}
			})
		}
		return nil
	}}
}

// kafkaLeader is the node that leads the topic's first partition.
func kafkaLeader(t *testing.T, k *testenv.Kafka, topic string) *testenv.KafkaNode {
	t.Helper()
	client, err := kafkaClient(k.Admin())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	leader := int32(-1)
	within(t, "a leader", func() bool {
		topics, err := kadm.NewClient(client).ListTopics(t.Context(), topic)
		if err == nil && topics.Has(topic) {
			leader = topics[topic].Partitions[0].Leader
		}
		return leader > 0
	})
	return k.Nodes[leader-1]
}
