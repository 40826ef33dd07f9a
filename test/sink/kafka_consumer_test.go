package sink_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/waybilltest"
)

// kafkaConsumer reads a topic as a stranger would: it shares no code with the sink.
type kafkaConsumer struct {
	topic   string
	options []kgo.Opt
}

func (c *kafkaConsumer) client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(append([]kgo.Opt{kgo.RetryTimeout(5 * time.Second)}, c.options...), options...)...)
}

// admin makes, grows and configures topics.
func (c *kafkaConsumer) admin(t *testing.T) *kadm.Client {
	t.Helper()
	client, err := c.client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

func (c *kafkaConsumer) create(t *testing.T, partitions int32, replicas int16, topic string, settings map[string]*string) {
	t.Helper()
	_, err := c.admin(t).CreateTopic(t.Context(), partitions, replicas, settings, topic)
	if err != nil {
		t.Fatalf("create topic %q: %v", topic, err)
	}
}

// placed is a message where it lies.
type placed struct {
	waybilltest.Received
	partition int32
	offset    int64
	record    *kgo.Record
}

// received waits until the topic holds n committed messages and returns all, those of one partition in order.
func (c *kafkaConsumer) received(ctx context.Context, n int) ([]waybilltest.Received, error) {
	all, err := c.read(ctx, n)
	list := make([]waybilltest.Received, len(all))
	for i, p := range all {
		list[i] = p.Received
	}
	return list, err
}

func (c *kafkaConsumer) read(ctx context.Context, n int) (list []placed, err error) {
	reader, err := c.client(kgo.ConsumeTopics(c.topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	at := map[int32]int64{}
	for {
		ends, err := kadm.NewClient(reader).ListCommittedOffsets(ctx, c.topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil && ctx.Err() == nil {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		complete := func() bool {
			whole := true
			ends.Each(func(o kadm.ListedOffset) { whole = whole && at[o.Partition] >= o.Offset })
			return whole
		}
		for !complete() && ctx.Err() == nil {
			reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				at[r.Partition] = r.Offset + 1
				if !r.Attrs.IsControl() {
					list = append(list, place(r))
				}
			})
		}
		if err := ctx.Err(); err != nil {
			return list, fmt.Errorf("the topic holds %d messages, not %d: %w", len(list), n, err)
		}
		if len(list) >= n {
			slices.SortStableFunc(list, func(a, b placed) int { return int(a.partition - b.partition) })
			return list, nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// stored is read with patience.
func (c *kafkaConsumer) stored(t *testing.T, n int) []placed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	list, err := c.read(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func place(r *kgo.Record) placed {
	p := placed{partition: r.Partition, offset: r.Offset, record: r}
	p.Topic, p.Key, p.Payload = r.Topic, string(r.Key), r.Value
	for _, h := range r.Headers {
		value := string(h.Value)
		switch h.Key {
		case "ce_id":
			p.ID = value
		case "ce_source":
			p.Source = value
		case "ce_type":
			p.Type = value
		case "ce_sequence":
			p.Sequence = value
		case "ce_time":
			p.Time, _ = time.Parse(time.RFC3339Nano, value) // a wrong one stays zero, and the test sees it
		case "content-type":
			p.ContentType = value
		default:
			if !strings.HasPrefix(h.Key, "ce_") {
				p.Headers = append(p.Headers, waybill.Header{Name: h.Key, Value: value})
			}
		}
	}
	return p
}
