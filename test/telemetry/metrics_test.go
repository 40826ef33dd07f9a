package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/telemetry"
)

func pointer[T any](v T) *T { return &v }

// known is an outbox of which everything is known.
func known() telemetry.Outbox {
	return telemetry.Outbox{Pending: pointer(3), Oldest: pointer(1500 * time.Millisecond), TableBytes: pointer(int64(8192)), Parked: pointer(1)}
}

func newCollector(outbox func() telemetry.Outbox) (*telemetry.Collector, *prometheus.Registry) {
	c := telemetry.NewCollector(telemetry.CollectorConfig{Relay: "orders-main", Source: "orders", Sink: "main", Outbox: outbox})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c, telemetry.NewBuildInfo("v1.2.3", "abcdef"))
	return c, registry
}

// gather returns every metric as name{label=value ...} and its value; of a histogram its count.
func gather(t *testing.T, registry prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			all[fmt.Sprintf("%s{%s}", f.GetName(), strings.Join(labels, " "))] = value(m)
		}
	}
	return all
}

func value(m *dto.Metric) float64 {
	if h := m.GetHistogram(); h != nil {
		return float64(h.GetSampleCount())
	}
	return m.GetGauge().GetValue() + m.GetCounter().GetValue()
}

func TestTheScrapeShowsWhatTheRelayDid(t *testing.T) {
	t.Parallel()
	s := newScene(t, waybill.Config{})
	metrics, registry := newCollector(known)
	var failed atomic.Bool
	s.broker.Intercept(func(_ context.Context, m *relay.Message, store func() error) error {
		switch {
		case m.Key == "poison":
			return relay.Rejected(errors.New("too strange"))
		case m.Key == "unlucky" && !failed.Swap(true):
			return errors.New("an outage")
		}
		return store()
	})
	s.publish(t.Context(),
		waybill.Message{Topic: "orders", Type: "n", Key: "a"}, waybill.Message{Topic: "orders", Type: "n", Key: "b"},
		waybill.Message{Topic: "orders", Type: "n", Key: "unlucky"}, waybill.Message{Topic: "orders", Type: "n", Key: "poison"},
		waybill.Message{Topic: "bills", Type: "n"})
	r, stop := s.relay(metrics, func(c *relay.Config) { c.OnRejected, c.Topics = relay.Park, []string{"orders"} })
	metrics.Watch(r.Status)
	s.received(3)
	eventually(t, "everything is counted", func() bool { st := r.Status(); return st.Published == 3 && st.Parked == 1 && st.InFlight == 0 })

	got := gather(t, registry)
	for name, want := range map[string]float64{
		`waybill_build_info{commit=abcdef go=` + goVersion + ` version=v1.2.3}`:                     1,
		`waybill_relay_messages_total{outcome=published relay=orders-main sink=main source=orders}`: 3,
		`waybill_relay_messages_total{outcome=retried relay=orders-main sink=main source=orders}`:   float64(r.Status().Retried),
		`waybill_relay_messages_total{outcome=parked relay=orders-main sink=main source=orders}`:    1,
		`waybill_relay_messages_total{outcome=skipped relay=orders-main sink=main source=orders}`:   1,
		`waybill_relay_commit_to_ack_seconds{relay=orders-main sink=main source=orders}`:            3,
		`waybill_relay_inflight_messages{relay=orders-main sink=main}`:                              0,
		`waybill_relay_leader{relay=orders-main source=orders}`:                                     1,
		`waybill_blocked_keys{relay=orders-main sink=main source=orders}`:                           0,
		`waybill_up{component=source name=orders relay=orders-main}`:                                1,
		`waybill_up{component=sink name=main relay=orders-main}`:                                    1,
		`waybill_outbox_pending_messages{relay=orders-main source=orders}`:                          3,
		`waybill_outbox_oldest_pending_seconds{relay=orders-main source=orders}`:                    1.5,
		`waybill_outbox_table_bytes{relay=orders-main source=orders}`:                               8192,
		`waybill_parked_messages{relay=orders-main sink=main source=orders}`:                        1,
		`waybill_sink_request_duration_seconds{outcome=topic relay=orders-main sink=main}`:          0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (there: %v), want %v", name, v, ok, want)
		}
	}
	request := func(outcome string) float64 {
		return got[`waybill_sink_request_duration_seconds{outcome=`+outcome+` relay=orders-main sink=main}`]
	}
	if r.Status().Retried < 1 {
		t.Error("the outage was not counted")
	}
	if request("rejected") < 1 || request("published") < 1 {
		t.Errorf("calls of the sink: %v rejected, %v published", request("rejected"), request("published"))
	}
	at := got[`waybill_relay_last_success_timestamp_seconds{relay=orders-main sink=main source=orders}`]
	if since := time.Since(time.UnixMilli(int64(at * 1e3))); since < 0 || since > time.Minute {
		t.Errorf("the last success was %v ago", since)
	}

	stop()
	got = gather(t, registry)
	if v := got[`waybill_relay_leader{relay=orders-main source=orders}`]; v != 0 {
		t.Error("a stopped relay is a leader")
	}
	if _, ok := got[`waybill_outbox_pending_messages{relay=orders-main source=orders}`]; ok {
		t.Error("a stopped relay shows a backlog")
	}
}

func TestThePageListsExactlyTheMetricsThereAre(t *testing.T) {
	t.Parallel()
	metrics, registry := newCollector(known)
	metrics.Watch(func() relay.Status { return relay.Status{State: "running", LastSuccess: time.Now()} })
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	exist := map[string]bool{}
	for _, f := range families {
		labels := map[string]bool{}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels[l.GetName()] = true
			}
		}
		names := slices.Sorted(maps.Keys(labels))
		exist[fmt.Sprintf("%s %s %s", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(names, ", "))] = true
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(waybill_[a-z_]+)` \\| ([a-z]+) \\| ([^|]+) \\|").FindAllStringSubmatch(string(page), -1) {
		names := strings.Split(m[3], ", ")
		slices.Sort(names)
		listed[fmt.Sprintf("%s %s %s", m[1], m[2], strings.Join(names, ", "))] = true
	}
	if !maps.Equal(exist, listed) {
		t.Errorf("scraped: %q\nlisted: %q", slices.Sorted(maps.Keys(exist)), slices.Sorted(maps.Keys(listed)))
	}
}

func TestWhatAProcessCannotKnowIsLeftOut(t *testing.T) {
	t.Parallel()
	asked := 0
	metrics, registry := newCollector(func() telemetry.Outbox { asked++; return telemetry.Outbox{} })
	if got := gather(t, registry); got[`waybill_relay_commit_to_ack_seconds{relay=orders-main sink=main source=orders}`] != 0 || len(got) != 6 {
		t.Errorf("before the relay is watched: %v", got)
	}
	for _, c := range []struct {
		status  relay.Status
		absent  []string
		present map[string]float64
		asked   int
	}{
		{relay.Status{State: "standby", HeldLanes: 7}, []string{"waybill_blocked_keys", "waybill_up{component=sink", "waybill_outbox", "waybill_relay_last_success"},
			map[string]float64{"waybill_relay_leader": 0, "waybill_up{component=source": 1}, 0},
		{relay.Status{State: "waiting"}, []string{"waybill_blocked_keys", "waybill_up{component=sink", "waybill_outbox"}, map[string]float64{"waybill_up{component=source": 0}, 1},
		{relay.Status{State: "running", Outage: true, HeldLanes: 7, SetAside: 2, Parked: 3}, []string{"waybill_outbox", "waybill_parked_messages"},
			map[string]float64{"waybill_relay_leader": 1, "waybill_up{component=sink": 0, "waybill_blocked_keys": 7, "waybill_relay_messages_total{outcome=parked": 5}, 1},
	} {
		asked = 0
		metrics.Watch(func() relay.Status { return c.status })
		got := gather(t, registry)
		for name := range got {
			for _, prefix := range c.absent {
				if strings.HasPrefix(name, prefix) {
					t.Errorf("%s shows %s", c.status.State, name)
				}
			}
			for prefix, want := range c.present {
				if strings.HasPrefix(name, prefix) {
					delete(c.present, prefix)
					if got[name] != want {
						t.Errorf("%s: %s is %v, want %v", c.status.State, name, got[name], want)
					}
				}
			}
		}
		if len(c.present) > 0 || asked != c.asked {
			t.Errorf("%s: missing %v, the database was asked %d times, want %d", c.status.State, c.present, asked, c.asked)
		}
	}
}

func TestRelaysOverOneSourceShareARegistry(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"orders-kafka", "orders-rabbit"} {
		c := telemetry.NewCollector(telemetry.CollectorConfig{Relay: name, Source: "orders", Sink: name, Outbox: known})
		c.Watch(func() relay.Status { return relay.Status{State: "running"} })
		registry.MustRegister(c)
	}
	if n, err := testutil.GatherAndCount(registry, "waybill_outbox_table_bytes"); err != nil || n != 2 {
		t.Errorf("%d series, %v", n, err)
	}
}

func TestTheMetricsFollowTheConventions(t *testing.T) {
	t.Parallel()
	metrics, registry := newCollector(known)
	metrics.Watch(func() relay.Status { return relay.Status{State: "running", LastSuccess: time.Now()} })
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Error(err, problems)
	}
	for _, f := range families {
		if f.GetType() == dto.MetricType_HISTOGRAM && (len(f.Metric[0].Histogram.Bucket) == 0 || f.Metric[0].Histogram.GetSchema() == 0 && f.Metric[0].Histogram.GetZeroThreshold() == 0) {
			t.Errorf("%s has no classic or no native buckets", f.GetName())
		}
	}
}
