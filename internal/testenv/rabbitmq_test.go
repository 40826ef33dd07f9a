package testenv

import (
	"strings"
	"testing"
)

func TestTwoTestsGetTwoVirtualHostsOfOneRabbitMQ(t *testing.T) {
	t.Parallel()
	one, two := RabbitMQVhost(t), RabbitMQVhost(t)
	if one.Name == two.Name || one.ManagementURL() != two.ManagementURL() {
		t.Errorf("got %s and %s, want two virtual hosts of one server", one.URL, two.URL)
	}
	one.API(t, "PUT", "/queues/"+one.Name+"/orders", map[string]any{"durable": true})
	if answer := two.API(t, "GET", "/queues/"+two.Name, nil); answer != "[]" {
		t.Errorf("the other virtual host has queues: %s", answer)
	}
}

func TestRabbitMQKeepsItsMessagesAndPortsThroughEveryEnd(t *testing.T) {
	t.Parallel()
	r := StartRabbitMQ(t, RabbitMQConfig{Settings: []string{"max_message_size = 1000"}})
	v := r.Vhost(t)
	v.API(t, "PUT", "/queues/"+v.Name+"/orders", map[string]any{"durable": true, "arguments": map[string]any{"x-queue-type": "quorum"}})
	for _, body := range []string{"one", "two"} {
		v.API(t, "POST", "/exchanges/"+v.Name+"/amq.default/publish", map[string]any{
			"routing_key": "orders", "payload": body, "payload_encoding": "string", "properties": map[string]any{"delivery_mode": 2}})
	}
	for name, end := range map[string]func(){"stop": r.Stop, "kill": r.Kill} {
		end()
		r.Restart()
		got := v.API(t, "POST", "/queues/"+v.Name+"/orders/get", map[string]any{"count": 5, "ackmode": "ack_requeue_true", "encoding": "auto"})
		if !strings.Contains(got, `"one"`) || !strings.Contains(got, `"two"`) {
			t.Errorf("after %s: %s", name, got)
		}
	}
	if got := r.Ctl(t, "eval", "application:get_env(rabbit, max_message_size)."); !strings.Contains(got, "{ok,1000}") {
		t.Errorf("rabbitmqctl says %q", got)
	}
}

func TestKilledRabbitMQLeavesNoProcess(t *testing.T) {
	t.Parallel()
	r := StartRabbitMQ(t, RabbitMQConfig{})
	kids := children(r.Pid())
	if len(kids) == 0 {
		t.Fatal("an Erlang machine has helpers, none found")
	}
	r.Kill()
	for _, pid := range append(kids, r.Pid()) {
		if alive(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
}
