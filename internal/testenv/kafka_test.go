package testenv

import (
	"testing"
)

func TestKafkaTakesRequestsAgainAfterEveryEnd(t *testing.T) {
	t.Parallel()
	k := StartKafka(t, KafkaConfig{})
	for name, end := range map[string]func(){"stop": k.Stop, "kill": k.Kill, "nothing": func() {}} {
		end()
		k.Restart()
		ids, err := kafkaBrokers(k.Brokers()[0])
		if err != nil || len(ids) != 1 || ids[0] != 1 {
			t.Errorf("after %s: brokers %v, %v", name, ids, err)
		}
	}
}
