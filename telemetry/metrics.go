package telemetry

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// descs are the metrics that are read at each scrape; histograms describe themselves.
type descs struct {
	pending, oldest, bytes, messages, inflight, parked, blocked, leader, success, up *prometheus.Desc
}

func newDescs(cfg CollectorConfig) descs {
	desc := func(name, help string, labels prometheus.Labels, variable ...string) *prometheus.Desc {
		labels["relay"] = cfg.Relay
		return prometheus.NewDesc(name, help, variable, labels)
	}
	source := func() prometheus.Labels { return prometheus.Labels{"source": cfg.Source} }
	both := func() prometheus.Labels { return prometheus.Labels{"source": cfg.Source, "sink": cfg.Sink} }
	return descs{
		pending:  desc("waybill_outbox_pending_messages", "Messages committed and not behind the relay's cursor; exact up to 10,000, above that an estimate.", source()),
		oldest:   desc("waybill_outbox_oldest_pending_seconds", "Since the oldest pending message was written; 0 when none is pending.", source()),
		bytes:    desc("waybill_outbox_table_bytes", "Size of the outbox table with its indexes.", source()),
		messages: desc("waybill_relay_messages_total", "Messages by what became of them in this process.", both(), "outcome"),
		inflight: desc("waybill_relay_inflight_messages", "Messages given to the sink and not yet confirmed.", prometheus.Labels{"sink": cfg.Sink}),
		parked:   desc("waybill_parked_messages", "Messages set aside, tried again by themselves or waiting for a person; at most 10,000 are counted.", both()),
		blocked:  desc("waybill_blocked_keys", "Keys held behind a message that fails.", both()),
		leader:   desc("waybill_relay_leader", "1 when this process owns the relay.", source()),
		success:  desc("waybill_relay_last_success_timestamp_seconds", "When the sink last confirmed a message to this process.", both()),
		up:       desc("waybill_up", "1 when the source or sink answers this process.", prometheus.Labels{}, "component", "name"),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	d := c.d
	for _, desc := range []*prometheus.Desc{d.pending, d.oldest, d.bytes, d.messages, d.inflight, d.parked, d.blocked, d.leader, d.success, d.up} {
		ch <- desc
	}
	c.delay.Describe(ch)
	c.requests.Describe(ch)
}

// Collect implements prometheus.Collector. What this process cannot know is left out, not shown as 0.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.delay.Collect(ch)
	c.requests.Collect(ch)
	status := c.status.Load()
	if status == nil {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	s := (*status)()
	owner := s.State == "running" || s.State == "stopping"
	for outcome, n := range map[string]uint64{"published": s.Published, "retried": s.Retried, "parked": s.SetAside + s.Parked, "skipped": s.Skipped} {
		ch <- prometheus.MustNewConstMetric(c.d.messages, prometheus.CounterValue, float64(n), outcome)
	}
	gauge(c.d.inflight, float64(s.InFlight))
	gauge(c.d.leader, bit(owner))
	if !s.LastSuccess.IsZero() {
		gauge(c.d.success, float64(s.LastSuccess.UnixMilli())/1e3)
	}
	if s.State != "stopped" {
		gauge(c.d.up, bit(s.State != "waiting"), "source", c.cfg.Source)
	}
	if owner {
		gauge(c.d.up, bit(!s.Outage), "sink", c.cfg.Sink)
		gauge(c.d.blocked, float64(s.HeldLanes))
	}
	if c.cfg.Outbox == nil || s.State == "standby" || s.State == "stopped" { // a standby leaves that to the owner
		return
	}
	o := c.cfg.Outbox()
	if o.Pending != nil {
		gauge(c.d.pending, float64(*o.Pending))
	}
	if o.Oldest != nil {
		gauge(c.d.oldest, o.Oldest.Seconds())
	}
	if o.TableBytes != nil {
		gauge(c.d.bytes, float64(*o.TableBytes))
	}
	if o.Parked != nil {
		gauge(c.d.parked, float64(*o.Parked))
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// NewBuildInfo is waybill_build_info, once a process.
func NewBuildInfo(version, commit string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "waybill_build_info", Help: "1; the labels tell what runs.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit, "go": runtime.Version()}}, func() float64 { return 1 })
}
