package sink_test

import (
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/sink/kafka"
)

func TestAMissingTopicIsFoundWhenItIsThere(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	sink := k.sink(t, kafka.Config{})
	for range 3 {
		if err := send(t, sink, time.Minute, message("later", "1"))[0]; class(err) != "topic" || !strings.Contains(err.Error(), "WB2311") {
			t.Fatal(err)
		}
	}
	k.create(t, 1, 3, "later", nil)
	if err := send(t, sink, time.Minute, message("later", "1"))[0]; err != nil {
		t.Error(err)
	}
}

func TestATopicIsMadeAsConfigured(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	sink := k.sink(t, kafka.Config{Create: true, CreatePartitions: 5, CreateReplicas: 3, CreateMinInSync: 2})
	if err := send(t, sink, time.Minute, message("made", "1"))[0]; err != nil {
		t.Fatal(err)
	}
	admin := k.admin(t)
	details, err := admin.ListTopics(t.Context(), "made")
	if err != nil {
		t.Fatal(err)
	}
	if p := details["made"].Partitions; len(p) != 5 || p.NumReplicas() != 3 {
		t.Errorf("%d partitions, %d replicas", len(p), p.NumReplicas())
	}
	settings, err := admin.DescribeTopicConfigs(t.Context(), "made")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings[0].Configs {
		if s.Key == "min.insync.replicas" && s.MaybeValue() != "2" {
			t.Errorf("min.insync.replicas is %q", s.MaybeValue())
		}
	}
}

func TestATopicThatCannotBeAsConfiguredHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	k.create(t, 1, 3, "few", nil)
	sink := k.sink(t, kafka.Config{Create: true, CreateReplicas: 9, Partitions: map[string]int{"few": 2}})
	for topic, want := range map[string]string{"missing": "WB2304", "few": "WB2308"} {
		if err := send(t, sink, time.Minute, message(topic, "1"))[0]; class(err) != "topic" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s of the topic", topic, err, want)
		}
	}
	sendAll(t, sink, run("orders", "one", 0, 1))
}
