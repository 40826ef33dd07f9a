package config

import "testing"

func TestAListIsShownWithWhereItWasSet(t *testing.T) {
	t.Parallel()
	c, err := Load(Input{Env: []string{"WAYBILL_SINK=nats://h", "WAYBILL_SINKS__DEFAULT__SUBJECTS=a,b"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Entries() {
		if e.Key == "sinks.default.subjects" && (e.Value != "a,b" || e.Origin != "WAYBILL_SINKS__DEFAULT__SUBJECTS") {
			t.Errorf("got %+v", e)
		}
	}
}
