package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybillhq/waybill/relay"
)

var (
	_ prometheus.Collector = (*Collector)(nil)
	_ relay.Observer       = (*Collector)(nil)
)

// CollectorConfig names one relay and its ends, in the labels relay, source and sink.
type CollectorConfig struct {
	Relay, Source, Sink string
	// Outbox tells what only the database knows. It is called at every scrape while no other process owns the relay, so it
	// should remember its answer for a while. Defaults to nothing, and the metrics that need it are left out.
	Outbox func() Outbox
}

// Outbox is how an outbox stands. What is nil is unknown and left out of the scrape.
type Outbox struct {
	Pending    *int           // messages committed and not behind the cursor
	Oldest     *time.Duration // since the oldest of them was written; 0 when there is none
	TableBytes *int64         // the outbox with its indexes
	Parked     *int           // messages set aside, held or parked
}

// Collector holds the metrics of one relay: give it to relay.Config.Observer, give it the relay's Status by Watch, and
// register it with a registry of your own. One registry takes any number of them.
type Collector struct {
	cfg      CollectorConfig
	d        descs
	status   atomic.Pointer[func() relay.Status]
	delay    prometheus.Histogram
	requests *prometheus.HistogramVec
	request  [4]prometheus.Observer // by severity
}

// NewCollector returns the metrics of one relay.
func NewCollector(cfg CollectorConfig) *Collector {
	c := &Collector{cfg: cfg, d: newDescs(cfg)}
	c.delay = prometheus.NewHistogram(histogram("waybill_relay_commit_to_ack_seconds",
		"From the writing of a message's row, by the database's clock, to the sink's confirmation, by this machine's.",
		[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600},
		prometheus.Labels{"relay": cfg.Relay, "source": cfg.Source, "sink": cfg.Sink}))
	c.requests = prometheus.NewHistogramVec(histogram("waybill_sink_request_duration_seconds",
		"How long one call of the sink took, until the last of its messages had an outcome; outcome is the gravest of them.",
		[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		prometheus.Labels{"relay": cfg.Relay, "sink": cfg.Sink}), []string{"outcome"})
	for i, outcome := range outcomes {
		c.request[i] = c.requests.WithLabelValues(outcome)
	}
	return c
}

// histogram has buckets for every server and native ones for those that take them.
func histogram(name, help string, buckets []float64, labels prometheus.Labels) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Name: name, Help: help, ConstLabels: labels, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}
}

// outcomes are those of relay.Outcome, the gravest last: messages that wait behind a refused one are temporary, too.
var outcomes = [4]string{"published", "temporary", "topic", "rejected"}

func severity(err error) int32 {
	switch {
	case err == nil:
		return 0
	case relay.IsTopic(err):
		return 2
	case relay.IsRejected(err):
		return 3
	}
	return 1
}

// Watch makes the counters and gauges show what status returns: give it the Status of the relay.
func (c *Collector) Watch(status func() relay.Status) { c.status.Store(&status) }

// Send implements relay.Observer.
func (c *Collector) Send(ctx context.Context, messages []*relay.Message) (context.Context, func(i int, err error)) {
	began := time.Now()
	var left, gravest atomic.Int32
	left.Store(int32(len(messages)))
	return ctx, func(i int, err error) {
		if at := messages[i].CreatedAt; err == nil && !at.IsZero() {
			c.delay.Observe(max(0, time.Since(at).Seconds())) // the two clocks may differ
		}
		for mine, seen := severity(err), gravest.Load(); mine > seen && !gravest.CompareAndSwap(seen, mine); {
			seen = gravest.Load()
		}
		if left.Add(-1) == 0 {
			c.request[gravest.Load()].Observe(time.Since(began).Seconds())
		}
	}
}
