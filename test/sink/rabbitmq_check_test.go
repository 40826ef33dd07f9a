package sink_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/rabbitmq"
)

func checkRabbit(t *testing.T, sink relay.Checker, topics ...string) (refuse, warn map[string]string) {
	t.Helper()
	found, err := sink.Check(t.Context(), topics)
	if err != nil {
		t.Fatal(err)
	}
	refuse, warn = map[string]string{}, map[string]string{}
	for _, f := range found {
		code, text, _ := strings.Cut(f.Text, " ")
		into := warn
		if f.Refuse {
			into = refuse
		}
		into[code] += text + "\n"
		if !strings.HasPrefix(code, "WB24") || !strings.Contains(text, "Try: ") {
			t.Errorf("a finding without code or advice: %s", f.Text)
		}
	}
	return refuse, warn
}

func TestCheckOfRabbitMQTellsWhatDoesNotHold(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	config := rabbitmq.Config{ManagementURL: vhost.ManagementURL()}
	direct := newRabbit(t, vhost.URL, config)
	rabbitQueue(t, vhost, "good", "quorum", map[string]any{"x-max-length": 1000, "x-overflow": "reject-publish", "x-dead-letter-strategy": "at-least-once"})
	if refuse, warn := checkRabbit(t, direct, "good"); len(refuse)+len(warn) > 0 {
		t.Errorf("a queue that keeps the promise: %v %v", refuse, warn)
	}
	rabbitQueue(t, vhost, "head", "classic", map[string]any{"x-max-length-bytes": 1000})
	rabbitQueue(t, vhost, "policy", "quorum", nil)
	vhost.Policy(t, "bound", "^policy$", map[string]any{"max-length": 5, "message-ttl": 1000, "dead-letter-strategy": "at-least-once"})
	rabbitQueue(t, vhost, "log", "stream", map[string]any{"x-max-age": "1h"})
	vhost.API(t, "PUT", "/queues/"+vhost.Name+"/transient", map[string]any{"durable": false})
	refuse, warn := checkRabbit(t, direct, "head", "policy", "log", "transient", "missing")
	for code, queues := range map[string]string{"WB2432": "head policy", "WB2434": "transient"} {
		wantQueues(t, refuse, code, queues)
	}
	for code, queues := range map[string]string{"WB2436": "policy log", "WB2440": "policy", "WB2411": "missing"} {
		wantQueues(t, warn, code, queues)
	}
	if len(refuse) != 2 || len(warn) != 3 {
		t.Errorf("more is found: %v %v", refuse, warn)
	}

	config.Exchange = "events"
	through := newRabbit(t, vhost.URL, config)
	_, warn = checkRabbit(t, through, "orders.created")
	wantQueues(t, warn, "WB2412", "events")
	rabbitExchange(t, vhost, "events", "topic", nil)
	rabbitExchange(t, vhost, "inner", "direct", nil)
	vhost.Policy(t, "alternate", "^inner$", map[string]any{"alternate-exchange": "amq.fanout"})
	vhost.API(t, "POST", "/bindings/"+vhost.Name+"/e/events/e/inner", map[string]any{"routing_key": "*.created.#"})
	rabbitBind(t, vhost, "inner", "head", "orders.created")
	rabbitBind(t, vhost, "inner", "transient", "orders.updated")
	refuse, warn = checkRabbit(t, through, "orders.created", "created")
	wantQueues(t, refuse, "WB2432", "head")
	wantQueues(t, warn, "WB2433", "inner")
	wantQueues(t, warn, "WB2411", `"created"`)
	if refuse["WB2434"] != "" {
		t.Errorf("a queue that the topic does not reach: %v", refuse)
	}
}

func wantQueues(t *testing.T, found map[string]string, code, names string) {
	t.Helper()
	for name := range strings.FieldsSeq(names) {
		if strings.Count(found[code], name) == 0 {
			t.Errorf("%s does not name %s: %v", code, name, found)
		}
	}
	if n := strings.Count(found[code], "\n"); n != len(strings.Fields(names)) {
		t.Errorf("%s is told %d times: %v", code, n, found)
	}
}

func TestCheckOfRabbitMQWithoutItsHTTPAPISaysWhatItCannotSee(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	if refuse, warn := checkRabbit(t, newRabbit(t, vhost.URL, rabbitmq.Config{}), "orders"); len(refuse) > 0 || len(warn) != 1 || warn["WB2431"] == "" {
		t.Errorf("%v %v", refuse, warn)
	}
	_, at := rabbitUser(t, vhost, ".*")
	for name, sink := range map[string]*rabbitmq.Sink{
		"nobody there":   newRabbit(t, vhost.URL, rabbitmq.Config{ManagementURL: "http://127.0.0.1:1"}),
		"no tag":         newRabbit(t, at, rabbitmq.Config{ManagementURL: strings.Replace(vhost.ManagementURL(), "guest:guest@", "", 1)}),
		"wrong password": newRabbit(t, vhost.URL, rabbitmq.Config{ManagementURL: strings.Replace(vhost.ManagementURL(), "guest:guest@", "guest:canary@", 1)}),
	} {
		if _, err := sink.Check(t.Context(), []string{"orders"}); err == nil || !strings.Contains(err.Error(), "WB2439") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newRabbit(t, "amqp://127.0.0.1:1", rabbitmq.Config{}).Check(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "WB2401") {
		t.Errorf("a broker that is down: %v", err)
	}
}

// A cluster of three is played by an HTTP API of its own: the rules are what is tested, not the server.
func TestCheckOfRabbitMQComparesReplicasWithTheCluster(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	queues := map[string]map[string]any{
		"classic":  {"type": "classic", "durable": true},
		"mirrored": {"type": "classic", "durable": true},
		"one":      {"type": "quorum", "durable": true, "members": []string{"a"}, "online": []string{"a"}},
		"three":    {"type": "quorum", "durable": true, "members": []string{"a", "b", "c"}, "online": []string{"a", "b", "c"}},
		"two":      {"type": "stream", "durable": true, "members": []string{"a", "b", "c"}, "online": []string{"a", "b"}},
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any = []map[string]any{{"pattern": "^mirr", "apply-to": "queues", "definition": map[string]any{"ha-mode": "all"}}}
		if r.URL.Path == "/api/nodes" {
			answer = []map[string]string{{"name": "a"}, {"name": "b"}, {"name": "c"}}
		}
		if name, found := strings.CutPrefix(r.URL.Path, "/api/queues/"+vhost.Name+"/"); found {
			queues[name]["name"] = name
			answer = queues[name]
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			fmt.Println(err)
		}
	}))
	defer api.Close()
	refuse, warn := checkRabbit(t, newRabbit(t, vhost.URL, rabbitmq.Config{ManagementURL: api.URL}), "classic", "mirrored", "one", "three", "two")
	if len(refuse) > 0 || len(warn) != 2 {
		t.Errorf("%v %v", refuse, warn)
	}
	wantQueues(t, warn, "WB2435", `"classic" "one"`)
	wantQueues(t, warn, "WB2437", `"two"`)
}
