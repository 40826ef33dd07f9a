package sink_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/kafka"
)

func realConsumer(k *testenv.Kafka, topic string) *kafkaConsumer {
	return &kafkaConsumer{topic: topic, options: []kgo.Opt{kgo.SeedBrokers(k.Admin()...)}}
}

func realSink(t *testing.T, k *testenv.Kafka, config kafka.Config) *kafka.Sink {
	t.Helper()
	sink := newKafka(t, strings.Join(k.Brokers(), ","), config)
	t.Cleanup(func() { sink.Close() })
	return sink
}

func TestApacheKafkaLosesNothingWhenItsNodesDieUnderLoad(t *testing.T) {
	t.Parallel()
	cluster := testenv.StartKafka(t, testenv.KafkaConfig{Nodes: 3})
	two := "2"
	configs := map[string]kafka.Config{"orders": {}, "fenced": {TransactionalID: "relay-1"}}
	sent, stop := map[string]chan map[string][]string{}, make(chan struct{})
	for topic, config := range configs {
		c := realConsumer(cluster, topic)
		c.create(t, 6, 3, topic, map[string]*string{"min.insync.replicas": &two})
		c.inSync(t, 3)
		sent[topic] = make(chan map[string][]string, 1)
		sink := realSink(t, cluster, config)
		go func() { sent[topic] <- load(t, sink, topic, stop) }()
	}
	for _, n := range cluster.Nodes {
		n.Kill()
		time.Sleep(time.Second) // the outage
		n.Restart()
		for topic := range configs {
			realConsumer(cluster, topic).inSync(t, 3)
		}
	}
	close(stop)
	for topic := range configs {
		want, total := <-sent[topic], 0
		for _, list := range want {
			total += len(list)
		}
		got, seen := map[string][]string{}, map[string]bool{}
		all := realConsumer(cluster, topic).stored(t, total)
		for _, p := range all {
			if !seen[p.ID] {
				got[p.Key] = append(got[p.Key], p.ID)
			}
			seen[p.ID] = true
		}
		for key, list := range want {
			if !slices.Equal(got[key], list) {
				t.Errorf("%s of %s: stored %d, confirmed %d; first difference at %d", key, topic, len(got[key]), len(list), differ(got[key], list))
			}
		}
		t.Logf("%s: %d messages, %d copies", topic, total, len(all)-len(seen))
	}
}

// load publishes runs of 20 keys, each message until it is confirmed, and returns what was sent of each key in order.
func load(t *testing.T, sink relay.Sink, topic string, stop chan struct{}) map[string][]string {
	want := map[string][]string{}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return want
		default:
		}
		var left []*relay.Message
		for i := range 200 {
			m := message(topic, fmt.Sprintf("%06d-%03d", n, i))
			m.Key = fmt.Sprint("key-", i%20)
			want[m.Key] = append(want[m.Key], m.ID)
			left = append(left, m)
		}
		for len(left) > 0 {
			var again []*relay.Message
			for i, err := range send(t, sink, 2*time.Second, left...) {
				if err == nil {
					continue
				}
				if class(err) != "temporary" {
					t.Error(err)
					return want
				}
				again = append(again, left[i])
			}
			left = again
		}
	}
}

func differ(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// inSync waits until every partition of the topic has a leader and n replicas in sync.
func (c *kafkaConsumer) inSync(t *testing.T, n int) {
	t.Helper()
	admin := c.admin(t)
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		details, err := admin.ListTopics(t.Context(), c.topic)
		whole := err == nil && details.Error() == nil
		if whole {
			for _, p := range details[c.topic].Partitions {
				whole = whole && p.Leader >= 0 && len(p.ISR) >= n
			}
		}
		if whole {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not in sync: %v, %v", details, err)
		}
	}
}

func TestApacheKafkaNamesWhatIsWrongWithATopic(t *testing.T) {
	t.Parallel()
	k := testenv.StartKafka(t, testenv.KafkaConfig{})
	sink := realSink(t, k, kafka.Config{})
	for topic, want := range map[string]string{"no/topic": "WB2313", "unknown": "WB2311"} {
		if err := send(t, sink, time.Minute, message(topic, "1"))[0]; class(err) != "topic" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", topic, err)
		}
	}
	set := func(s string) *string { return &s }
	c := realConsumer(k, "orders")
	c.create(t, 1, 1, "plain", nil)
	c.create(t, 1, 1, "loose", map[string]*string{"unclean.leader.election.enable": set("true"), "retention.ms": set("60000"),
		"retention.bytes": set("1000000"), "cleanup.policy": set("compact,delete"), "max.message.bytes": set("5000")})
	// A message without a key on a compacted topic, and one that is too large, between two that are well.
	messages := run("loose", "one", 0, 4)
	messages[1].Key = ""
	messages[2].Key, messages[2].Payload = "large", make([]byte, 6_000)
	for i, err := range send(t, sink, time.Minute, messages...) {
		if want := []string{"confirmed", "rejected", "rejected", "confirmed"}[i]; class(err) != want {
			t.Errorf("message %d: %v, want %s", i, err, want)
		}
	}
	for topics, want := range map[string]string{"": "", "unknown": "WB2311", "plain": "WB2332 WB2333", "no/topic": "WB2313",
		"loose": "WB2332 WB2333 WB2334! WB2335 WB2335 WB2336 WB2337"} {
		wantFound(t, sink, topics, want)
	}
	wantFound(t, realSink(t, k, kafka.Config{Partitions: map[string]int{"plain": 2}}), "plain", "WB2308 WB2332 WB2333")
	makes := realSink(t, k, kafka.Config{Create: true})
	wantFound(t, makes, "unknown plain", "WB2332 WB2333")
	wantFound(t, sink, "unknown", "WB2311") // Check makes nothing
}

// wantFound wants these codes of Check, in this order, "!" behind those that refuse.
func wantFound(t *testing.T, sink *kafka.Sink, topics, want string) {
	t.Helper()
	found, err := sink.Check(t.Context(), strings.Fields(topics))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		code := strings.Fields(f.Text)[1]
		if f.Refuse {
			code += "!"
		}
		got = append(got, code)
	}
	if strings.Join(got, " ") != want {
		t.Errorf("%s: %q, want %q", topics, got, want)
	}
}

func TestApacheKafkaThatFreezesIsAnOutageAndChangesNoOrder(t *testing.T) {
	t.Parallel()
	for _, config := range []kafka.Config{{MaxBatchBytes: 4_000}, {MaxBatchBytes: 4_000, TransactionalID: "relay-1"}} {
		t.Run("fence "+config.TransactionalID, func(t *testing.T) {
			t.Parallel()
			k := testenv.StartKafka(t, testenv.KafkaConfig{})
			c := realConsumer(k, "orders")
			c.create(t, 1, 1, "orders", nil)
			sink := realSink(t, k, config)
			sendAll(t, sink, run("orders", "one", 0, 10))
			for n := range 3 {
				messages := run("orders", "one", 1000*n+100, 1000*n+1000)
				frozen := make(chan struct{})
				time.AfterFunc(time.Duration(n)*5*time.Millisecond, func() { // somewhere in the run
					k.Pause()
					close(frozen)
				})
				errs := send(t, sink, 500*time.Millisecond, messages...)
				<-frozen
				k.Continue()
				confirmed := len(prefix(t, messages, errs))
				sendUntilAll(t, sink, messages[confirmed:])
			}
			first, last := map[string]bool{}, ""
			for _, p := range c.stored(t, 2710) {
				if !first[p.ID] && len(p.ID) == len(last) && p.ID < last {
					t.Fatalf("%s comes behind %s", p.ID, last)
				}
				if !first[p.ID] {
					last = p.ID
				}
				first[p.ID] = true
			}
			if len(first) != 2710 {
				t.Errorf("%d are stored", len(first))
			}
		})
	}
}

// sendUntilAll sends one key's run until all is confirmed, as a relay does: what failed comes again, in order.
func sendUntilAll(t *testing.T, sink relay.Sink, messages []*relay.Message) {
	t.Helper()
	for end := time.Now().Add(time.Minute); len(messages) > 0; {
		errs := send(t, sink, 2*time.Second, messages...)
		messages = messages[len(prefix(t, messages, errs)):]
		if time.Now().After(end) {
			t.Fatal(errs[len(errs)-1])
		}
	}
}
