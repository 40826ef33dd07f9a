package rabbitmq

import (
	"strings"
	"testing"
)

func TestEveryFaultOfTheConfigurationIsToldAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New("amqp://h1,http://h2,amqp://h3?heartbeat=1", Config{
		Source: strings.Repeat("s", 256), Exchange: strings.Repeat("e", 256), CertFile: "cert.pem", External: true,
		ConnectTimeout: -1, MaxMessageBytes: -1, ManagementURL: "localhost:15672",
	})
	if err == nil {
		t.Fatal("no fault")
	}
	for _, fault := range []string{"server 2 is not a URL", "server 3 is not a URL", "server 1 is reached without TLS", "Source", "Exchange", "CertFile and KeyFile",
		"ConnectTimeout", "MaxMessageBytes", "ManagementURL"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%q is not told in %v", fault, err)
		}
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !strings.HasPrefix(line, "waybill: WB4204 rabbitmq sink: ") || !strings.Contains(line, "Try: ") {
			t.Errorf("a fault without code or advice: %s", line)
		}
	}
}

func TestTheZeroConfigurationWorks(t *testing.T) {
	t.Parallel()
	s, err := New("", Config{})
	if err != nil {
		t.Fatal(err)
	}
	if at := s.servers[0]; at.address != "127.0.0.1:5672" || at.uri.Vhost != "/" || at.tls {
		t.Errorf("it connects to %+v", at)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestABindingTakesTheTopicsThatTheServerGivesIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, key, topic string
		want             bool
	}{
		{"direct", "a.b", "a.b", true}, {"direct", "a.*", "a.b", false}, {"fanout", "", "a.b", true}, {"headers", "", "a", true},
		{"topic", "a.b", "a.b", true}, {"topic", "a.*", "a.b", true}, {"topic", "a.*", "a", false}, {"topic", "a.*", "a.b.c", false},
		{"topic", "#", "a.b", true}, {"topic", "#", "", true}, {"topic", "a.#", "a", true}, {"topic", "#.c", "a.b.c", true},
		{"topic", "a.#.c", "a.c", true}, {"topic", "a.#.c", "a.b.b.c", true}, {"topic", "a.#.c", "a.b", false}, {"topic", "*.#", "a", true}, {"topic", "", "a", false},
	} {
		if got := routes(c.kind, c.key, c.topic); got != c.want {
			t.Errorf("a %s exchange with key %q takes %q: %v", c.kind, c.key, c.topic, got)
		}
	}
}

func TestThePolicyWithTheHighestPriorityAppliesAndOperatorsStandAbove(t *testing.T) {
	t.Parallel()
	lists := [2][]policy{
		{
			{Pattern: "^orders", ApplyTo: "all", Priority: 1, Definition: settings{"max-length": 1, "overflow": "drop-head"}},
			{Pattern: "orders", ApplyTo: "queues", Priority: 5, Definition: settings{"max-length": 2}},
			{Pattern: "orders", ApplyTo: "exchanges", Priority: 9, Definition: settings{"alternate-exchange": "x"}},
			{Pattern: "(?<!x)orders", ApplyTo: "all", Priority: 9, Definition: settings{"max-length": 9}}, // Go has no look-behind
		},
		{{Pattern: "", ApplyTo: "quorum_queues", Definition: settings{"max-length": 3}}},
	}
	if got := effective(lists, "orders", "queues", "classic_queues"); got["max-length"] != 2 || got["overflow"] != nil {
		t.Errorf("of a classic queue: %v", got)
	}
	if got := effective(lists, "orders", "queues", "quorum_queues"); got["max-length"] != 3 {
		t.Errorf("of a quorum queue: %v", got)
	}
	if got := effective(lists, "orders", "exchanges"); got["alternate-exchange"] != "x" || got["max-length"] != nil {
		t.Errorf("of an exchange: %v", got)
	}
}
