package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTheRunsSpansReachACollectorAndTheContextTheBrokerUnchanged(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	services, parents, names := map[string]bool{}, map[string]string{}, map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var export collector.ExportTraceServiceRequest
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("x-token") != "s3cret" {
			t.Errorf("%s %v: %v", r.URL.Path, r.Header, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range export.ResourceSpans {
			for _, a := range resource.Resource.Attributes {
				if a.Key == "service.name" {
					services[a.Value.GetStringValue()] = true
				}
			}
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					names[span.Name]++
					parents[span.Name] = string(span.ParentSpanId)
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	s, url := embedded(t)
	s.env = append(s.env, "OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL, "OTEL_EXPORTER_OTLP_HEADERS=x-token=s3cret")
	s.must("migrate", "up")
	s.must("send", "--topic", "orders", "--type", "n", "--header", "traceparent="+traceparent, "--header", "tracestate=vendor=1")
	p := s.start("run", "--listen", "off")
	headers := consume(t, url, 1)[0].Headers()
	if got := headers["traceparent"]; len(got) != 1 || got[0] != traceparent || headers["tracestate"][0] != "vendor=1" {
		t.Errorf("the broker has %v", headers)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if names["wait orders"] != 1 || names["publish orders"] < 1 || parents["wait orders"] != "\xb7\xad\x6b\x71\x69\x20\x33\x31" || !services["waybill"] {
		t.Errorf("after the stop the collector has %v of %v", names, services)
	}
	if strings.Contains(p.Output(), "s3cret") {
		t.Error("the log has the collector's token")
	}
}

// Fault 86.
func TestACollectorThatNeverAnswersHoldsUpNeitherMessagesNorTheStop(t *testing.T) {
	t.Parallel()
	s, url := embedded(t)
	s.env = append(s.env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+silentServer(t), "OTEL_BSP_SCHEDULE_DELAY=1")
	s.must("migrate", "up")
	for range 3 {
		s.must("send", "--topic", "orders", "--type", "n", "--header", "traceparent="+traceparent)
	}
	p := s.start("run", "--listen", "off")
	consume(t, url, 3)
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	p.WaitOutput(t, "the last traces are lost")
}

func TestAProtocolThatIsNotSpokenIsNamedAndStopsNothing(t *testing.T) {
	t.Parallel()
	s, url := embedded(t)
	s.env = append(s.env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
	s.must("migrate", "up")
	s.must("send", "--topic", "orders", "--type", "n")
	p := s.start("run", "--listen", "off")
	consume(t, url, 1)
	p.WaitOutput(t, "WB4614")
}

func TestTheKindOfABrokerAndItsAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"nats://me:pw@a:4222,nats://b:4222": {"nats", "a:4222"},
		"tls://a":                           {"nats", "a"},
		"nats:embedded?dir=x":               {"nats", ""},
		"kafka://a:9092,b:9092":             {"kafka", "a:9092"},
		"kafka+tls://a:9093":                {"kafka", "a:9093"},
		"amqps://me:pw@a:5671/vhost":        {"rabbitmq", "a:5671"},
	} {
		if system, server := messaging(text); system != want[0] || server != want[1] {
			t.Errorf("%s is %s at %q, want %v", text, system, server, want)
		}
	}
}
