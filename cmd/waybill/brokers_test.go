package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/internal/testenv"
)

// What a consumer sees is shown by test/sink; here the URL alone must make a relay that publishes.
func TestOneURLMakesARelayToARealBroker(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, topic string
		env         func(t *testing.T) []string
	}{
		{"Kafka", "waybill.command", func(t *testing.T) []string {
			return []string{"WAYBILL_SINK=kafka://" + strings.Join(testenv.KafkaBrokers(t), ",")}
		}},
		{"Kafka with fencing", "waybill.command.fenced", func(t *testing.T) []string {
			return []string{"WAYBILL_SINKS__DEFAULT__URL=kafka://" + strings.Join(testenv.KafkaBrokers(t), ","), "WAYBILL_SINKS__DEFAULT__FENCING=true",
				"WAYBILL_RELAYS__BROKERS__SOURCE=default", "WAYBILL_RELAYS__BROKERS__SINK=default"}
		}},
		{"RabbitMQ", "orders", func(t *testing.T) []string {
			v := testenv.RabbitMQVhost(t)
			return []string{"WAYBILL_SINK=" + v.URL, "WAYBILL_SINKS__DEFAULT__MANAGEMENT_URL=" + v.ManagementURL()}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t, append(test.env(t), "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINKS__DEFAULT__CREATE=true", "WAYBILL_SINKS__DEFAULT__ALLOW_UNSAFE=true")...)
			s.must("migrate", "up")
			for range 3 {
				s.must("send", "--topic", test.topic, "--key", "k", "--type", "order.created")
			}
			probes := freeAddress(t)
			p := s.start("run", "--listen", probes)
			eventually(t, "all is published", func() bool {
				body, _ := get(probes, "/status")
				return strings.Contains(body, `"published": 3`)
			})
			if body, code := get(probes, "/readyz"); code != http.StatusOK {
				t.Errorf("not ready: %s", body)
			}
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
			if status := readStatus(t, s); *status.Pending != 0 || status.Parked+status.Held != 0 {
				t.Errorf("%+v", status)
			}
			out, stderr, code := s.run("doctor")
			if code != 0 || !strings.Contains(out, "sink default, broker: ") {
				t.Errorf("doctor: exit %d: %s%s", code, out, stderr)
			}
		})
	}
}

func TestAQueueThatDropsItsHeadIsRefusedUnlessItMay(t *testing.T) {
	t.Parallel()
	v := testenv.RabbitMQVhost(t)
	v.API(t, "PUT", "/queues/"+v.Name+"/orders", map[string]any{"durable": true, "arguments": map[string]any{"x-max-length": 10}})
	s := newShell(t, "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK="+v.URL, "WAYBILL_SINKS__DEFAULT__MANAGEMENT_URL="+v.ManagementURL(), "WAYBILL_RELAYS__DEFAULT__TOPICS=orders")
	s.must("migrate", "up")
	out, _, code := s.run("doctor")
	if code != 4 || !strings.Contains(out, "refuse  sink default, broker: WB2432 ") || !strings.Contains(out, "\n        Try: overflow reject-publish") {
		t.Errorf("doctor: exit %d: %s", code, out)
	}
	_, stderr, code := s.run("run", "--listen", "off")
	if code != 1 || !strings.Contains(stderr, "relay default ended: waybill: WB4701") || !strings.Contains(stderr, "WB2432") {
		t.Errorf("run: exit %d: %s", code, stderr)
	}
	s.env = append(s.env, "WAYBILL_SINKS__DEFAULT__ALLOW_UNSAFE=true")
	out, _, code = s.run("doctor")
	if code != 0 || !strings.Contains(out, "warn    sink default, broker: WB2432 ") {
		t.Errorf("doctor, with allow_unsafe: exit %d: %s", code, out)
	}
	s.must("send", "--topic", "orders", "--type", "a")
	probes := freeAddress(t)
	p := s.start("run", "--listen", probes)
	eventually(t, "it is published all the same", func() bool {
		body, _ := get(probes, "/status")
		return strings.Contains(body, `"published": 1`)
	})
	p.WaitOutput(t, "WB2432")
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}
