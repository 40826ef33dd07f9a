package takeover

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybillhq/waybill/test/stress"
)

// observed is a broker as a consumer sees it, while it goes on.
type observed struct {
	*stress.Observer
	name    string
	settled func(t *testing.T) // looks at what is stored, once all has arrived

	mu       sync.Mutex
	arrivals map[string][]time.Time // by topic without the scene's name
}

func observe(name string) *observed {
	return &observed{Observer: stress.NewObserver(), name: name, settled: func(*testing.T) {}, arrivals: map[string][]time.Time{}}
}

func (o *observed) arrived(topic, id string, body []byte) {
	o.See(id, body)
	_, topic, _ = strings.Cut(topic, ".")
	o.mu.Lock()
	defer o.mu.Unlock()
	o.arrivals[topic] = append(o.arrivals[topic], time.Now())
}

// first is when the first message of a relay's topics arrived after a moment; zero when none has.
func (o *observed) first(relay string, after time.Time) (at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for topic, times := range o.arrivals {
		for _, pattern := range patterns[relay] {
			if begin, open := strings.CutSuffix(pattern, "*"); topic != pattern && !(open && strings.HasPrefix(topic, begin)) {
				continue
			}
			for n := len(times) - 1; n >= 0 && times[n].After(after); n-- {
				if at.IsZero() || times[n].Before(at) {
					at = times[n]
				}
			}
		}
	}
	return at
}

// observeJetStream makes a stream that stores every copy: deduplication would hide what the relays do.
func observeJetStream(t *testing.T, url, scene string) *observed {
	t.Helper()
	o := observe("JetStream")
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: scene, Subjects: []string{scene + ".>"}, Duplicates: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) { o.arrived(m.Subject(), m.Headers().Get("ce-id"), m.Data()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(consuming.Stop)
	return o
}

// observeKafka makes the topics and reads what is committed. The broker's own clock stands in each message.
func observeKafka(t *testing.T, brokers []string, scene string) *observed {
	t.Helper()
	o := observe("Kafka")
	var names []string
	for _, topic := range topics {
		names = append(names, scene+"."+topic)
	}
	client := func(options ...kgo.Opt) *kgo.Client {
		c, err := kgo.NewClient(append(options, kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(names...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	reader := client(kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	admin := kadm.NewClient(reader)
	clock := "LogAppendTime"
	for _, topic := range names {
		if _, err := admin.CreateTopic(t.Context(), 3, 1, map[string]*string{"message.timestamp.type": &clock}, topic); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "Kafka to show the topics", func() bool {
		ends, err := admin.ListEndOffsets(t.Context(), names...)
		return err == nil && ends.Error() == nil && len(ends) == len(names)
	})
	var reading sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	reading.Go(func() {
		for ctx.Err() == nil {
			reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) { o.arrived(r.Topic, header(r, "ce_id"), r.Value) })
		}
	})
	t.Cleanup(reading.Wait)
	t.Cleanup(cancel)

	o.settled = func(t *testing.T) {
		t.Helper()
		ends, err := admin.ListEndOffsets(t.Context(), names...)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
		checkFence(t, readAll(t, client(kgo.FetchIsolationLevel(kgo.ReadUncommitted()), kgo.KeepControlRecords()), ends), o.copies())
	}
	return o
}

func (o *observed) copies() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, times := range o.arrivals {
		n += len(times)
	}
	return n
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// readAll reads up to ends, each partition in its order.
func readAll(t *testing.T, reader *kgo.Client, ends kadm.ListedOffsets) (records []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	type place struct {
		topic     string
		partition int32
	}
	at := map[place]int64{}
	left := func() (n int64) {
		ends.Each(func(o kadm.ListedOffset) { n += max(0, o.Offset-at[place{o.Topic, o.Partition}]) })
		return n
	}
	for left() > 0 {
		if ctx.Err() != nil {
			t.Fatalf("%d records of Kafka were not read: %v", left(), ctx.Err())
		}
		reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			at[place{r.Topic, r.Partition}] = r.Offset + 1
			if !r.Attrs.IsControl() {
				records = append(records, r)
			}
		})
	}
	return records
}

// checkFence sees that once an owner of the relay has stored something, none before it stores anything, not even what nobody
// sees because its transaction never ends. Each owner has an epoch of its own under the relay's transactional id.
func checkFence(t *testing.T, records []*kgo.Record, committed int) {
	t.Helper()
	type owner struct {
		producer int64
		epoch    int16
	}
	type partition struct {
		topic    string
		number   int32
		producer int64
	}
	begun, ended, newest := map[owner]time.Time{}, map[owner]time.Time{}, map[partition]int16{}
	for _, r := range records {
		o, p := owner{r.ProducerID, r.ProducerEpoch}, partition{r.Topic, r.Partition, r.ProducerID}
		if r.ProducerID < 0 {
			t.Fatalf("%s: a record outside of any transaction", r.Topic)
		}
		if first, known := begun[o]; !known || r.Timestamp.Before(first) {
			begun[o] = r.Timestamp
		}
		if r.Timestamp.After(ended[o]) {
			ended[o] = r.Timestamp
		}
		if r.ProducerEpoch < newest[p] {
			t.Errorf("%s/%d: offset %d is of epoch %d, behind one of %d", r.Topic, r.Partition, r.Offset, r.ProducerEpoch, newest[p])
		}
		newest[p] = max(newest[p], r.ProducerEpoch)
	}
	producers := map[int64]int{}
	for older, last := range ended {
		producers[older.producer]++
		for newer, first := range begun {
			if newer.producer == older.producer && newer.epoch > older.epoch && last.After(first) {
				t.Errorf("producer %d: epoch %d stored at %v, after the first message of epoch %d at %v", older.producer, older.epoch, last, newer.epoch, first)
			}
		}
	}
	t.Logf("Kafka: %d records stored, %d of them in transactions that never ended; producers and their epochs: %v", len(records), len(records)-committed, producers)
}
