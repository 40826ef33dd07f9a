package main

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/look"
	"github.com/waybillhq/waybill/telemetry"
)

func TestTheMetricsOfARunningRelay(t *testing.T) {
	t.Parallel()
	s, _ := embedded(t)
	probes := freeAddress(t)
	s.must("migrate", "up")
	for range 3 {
		s.must("send", "--topic", "orders", "--type", "n", "--key", "k")
	}
	s.start("run", "--listen", probes)
	var text string
	const labels = `relay="default",sink="default",source="default"`
	eventually(t, "three messages are counted", func() bool {
		var code int
		text, code = get(probes, "/metrics")
		return code == http.StatusOK && strings.Contains(text, `waybill_relay_messages_total{outcome="published",`+labels+"} 3\n")
	})
	for _, want := range []string{
		`waybill_relay_commit_to_ack_seconds_count{` + labels + "} 3\n",
		`waybill_relay_leader{relay="default",source="default"} 1` + "\n",
		`waybill_parked_messages{` + labels + "} 0\n",
		`waybill_up{component="sink",name="default",relay="default"} 1` + "\n",
		`waybill_build_info{commit=`, "go_goroutines ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	for _, name := range []string{"waybill_outbox_pending_messages", "waybill_outbox_oldest_pending_seconds", "waybill_outbox_table_bytes"} {
		if !regexp.MustCompile(`(?m)^` + name + `\{relay="default",source="default"\} [0-9]`).MatchString(text) {
			t.Errorf("/metrics lacks %s", name)
		}
	}
	page := read(t, "docs/metrics.md")
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (waybill_\w+) (\w+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(page, "\n| `"+m[1]+"` | "+m[2]+" |") {
			t.Errorf("docs/metrics.md does not list %s", m[1])
		}
	}
}

func TestADatabaseIsAskedRarelyAndOldAnswersAreDropped(t *testing.T) {
	t.Parallel()
	asked, n := 0, 7
	var fail error
	l := &outboxLook{read: func(context.Context) (telemetry.Outbox, error) {
		asked++
		if fail != nil {
			return telemetry.Outbox{}, fail
		}
		return telemetry.Outbox{Pending: &n}, nil
	}}
	for range 3 {
		if got, err := l.get(); err != nil || got.Pending == nil || asked != 1 {
			t.Fatalf("got %v, %v, asked %d times", got, err, asked)
		}
	}
	fail = errors.New("the database is away")
	l.at = time.Now().Add(-lookPause)
	if got, err := l.get(); !errors.Is(err, fail) || got.Pending != nil || asked != 2 {
		t.Errorf("got %v, %v, asked %d times", got, err, asked)
	}
	if got, err := l.get(); err != nil || got.Pending != nil || asked != 2 {
		t.Errorf("got %v, %v, asked %d times", got, err, asked)
	}
}

func TestTopicsThatWaitCountAsPending(t *testing.T) {
	t.Parallel()
	some, none := 3, 0
	age := 5 * time.Second
	for name, c := range map[string]struct {
		found           look.Relay
		pending, oldest float64 // -1: unknown
	}{
		"unknown":           {look.Relay{}, -1, -1},
		"nothing":           {look.Relay{Pending: &none, Estimate: &none}, 0, 0},
		"no ages":           {look.Relay{Pending: &some, Estimate: &some}, 3, -1},
		"a backlog":         {look.Relay{Pending: &some, Estimate: &some, Oldest: &age}, 3, 5},
		"and a topic":       {look.Relay{Pending: &some, Estimate: &some, Oldest: &age, Branches: []look.Branch{{Pending: &some, Since: time.Minute}}}, 6, 60},
		"an empty topic":    {look.Relay{Pending: &none, Estimate: &none, Branches: []look.Branch{{Pending: &none, Since: time.Minute}}}, 0, 0},
		"an unknown branch": {look.Relay{Pending: &some, Estimate: &some, Oldest: &age, Branches: []look.Branch{{Since: time.Minute}}}, -1, -1},
	} {
		got := outboxOf(c.found, 1)
		pending, oldest := -1.0, -1.0
		if got.Pending != nil {
			pending = float64(*got.Pending)
		}
		if got.Oldest != nil {
			oldest = got.Oldest.Seconds()
		}
		if pending != c.pending || oldest != c.oldest {
			t.Errorf("%s: pending %v, oldest %v, want %v and %v", name, pending, oldest, c.pending, c.oldest)
		}
	}
}
