package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/doctor"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
)

// atBroker does something with the broker's JetStream.
func atBroker(t *testing.T, url string, do func(js jetstream.JetStream) error) {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err == nil {
		err = do(js)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func makeStream(t *testing.T, url string, cfg jetstream.StreamConfig) {
	t.Helper()
	atBroker(t, url, func(js jetstream.JetStream) error {
		_, err := js.CreateStream(t.Context(), cfg)
		return err
	})
}

func examine(t *testing.T, s shell) (results []doctor.Result, code int) {
	t.Helper()
	out, stderr, code := s.run("doctor", "-o", "json")
	var v struct{ Checks []doctor.Result }
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v in %s%s", err, out, stderr)
	}
	return v.Checks, code
}

func TestDoctorOfWhatIsWellFindsNothing(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresConfig{Fsync: true, Settings: []string{"full_page_writes=on", "autovacuum=on"}})
	broker := testenv.StartNATS(t, testenv.NATSConfig{})
	makeStream(t, broker.URL(), jetstream.StreamConfig{Name: "orders", Subjects: []string{"orders.*"}, Discard: jetstream.DiscardNew})
	s := newShell(t, "WAYBILL_SOURCE="+pg.Database(t), "WAYBILL_SINK="+broker.URL())
	s.must("migrate", "up")
	s.must("send", "--topic", "orders.created", "--type", "a")
	results, code := examine(t, s)
	checks := map[string]bool{}
	for _, r := range results {
		checks[r.Subject+", "+r.Check] = true
		if r.Level != doctor.OK {
			t.Errorf("found %+v", r)
		}
	}
	for _, check := range []string{"reachable", "server", "pooler", "settings", "clock", "schema", "history", "rights", "prepared transactions", "open transactions", "retention", "topics"} {
		if !checks["source default, "+check] {
			t.Errorf("there is no check %s in %v", check, checks)
		}
	}
	if code != fault.OK || !checks["sink default, broker"] {
		t.Errorf("exit %d: %v", code, checks)
	}
	if out := s.must("doctor"); !strings.Contains(out, "ok      sink default, broker: it answers, and is as the promise needs it; topics looked at: 1") {
		t.Errorf("printed %s", out)
	}
}

func TestDoctorTellsTheBrokersSettingsForTheTopicsThatItsRelaysTake(t *testing.T) {
	t.Parallel()
	broker := testenv.StartNATS(t, testenv.NATSConfig{})
	for name, subject := range map[string]string{"orders": "orders.*", "billing": "billing", "stock": "stock"} {
		makeStream(t, broker.URL(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Storage: jetstream.MemoryStorage})
	}
	s := newShell(t)
	s.write("waybill.yaml", `
sources: {shop: {url: "sqlite:app.db"}}
sinks:
  main: {url: "`+broker.URL()+`"}
  gone: {url: "nats://127.0.0.1:1"}
relays:
  a: {source: shop, sink: main, topics: ["orders.*", billing]}
  b: {source: shop, sink: gone, topics: ["none.*"]}
`)
	s.must("migrate", "up")
	for _, topic := range []string{"orders.created", "stock", "orders.lost"} {
		s.must("send", "--topic", topic, "--type", "a")
	}
	results, code := examine(t, s)
	var text strings.Builder
	for _, r := range results {
		if r.Level != doctor.OK {
			text.WriteString(string(r.Level) + " " + r.Subject + ": " + r.Code + " " + r.Text + "\n")
		}
	}
	got := text.String()
	for _, want := range []string{
		`refuse sink main: WB2203 jetstream: stream "billing" is kept in memory`, `refuse sink main: WB2203 jetstream: stream "orders" is`,
		"unknown sink gone: WB2101", `warn source shop: WB4702 no relay takes these topics of the outbox, so their messages are never published: "stock"`,
		`warn configuration:  no relay of source "shop" takes every topic`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, `"stock" is kept`) || code != fault.Problems {
		t.Errorf("exit %d, and\n%s", code, got)
	}
	s.env = append(s.env, "WAYBILL_SINKS__MAIN__ALLOW_UNSAFE=true")
	if results, code = examine(t, s); code != fault.Unreachable {
		t.Errorf("with allow_unsafe: exit %d: %+v", code, results)
	}
}

func TestARelayDoesNotRunIntoABrokerThatLosesUnlessItMay(t *testing.T) {
	t.Parallel()
	broker := testenv.StartNATS(t, testenv.NATSConfig{})
	makeStream(t, broker.URL(), jetstream.StreamConfig{Name: "orders", Subjects: []string{"orders"}, Storage: jetstream.MemoryStorage, Duplicates: 1e9})
	s := newShell(t, "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK="+broker.URL())
	s.must("migrate", "up")
	s.must("send", "--topic", "orders", "--type", "a")
	_, stderr, code := s.run("run", "--listen", "off")
	if code != fault.Failed || !strings.Contains(stderr, "relay default ended: waybill: WB4701 sink default: confirmed messages can be lost as things stand: WB2203") ||
		!strings.Contains(stderr, "allow_unsafe: true") || !strings.Contains(stderr, "WB2207") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	s.env = append(s.env, "WAYBILL_SINKS__DEFAULT__ALLOW_UNSAFE=true")
	s.must("send", "--topic", "orders", "--type", "a")
	probes := freeAddress(t)
	p := s.start("run", "--listen", probes)
	p.WaitOutput(t, "WB2203")
	consume(t, broker.URL(), 2)
	if body, code := get(probes, "/readyz"); code != http.StatusOK {
		t.Errorf("not ready: %s", body)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func TestDoctorSaysUnknownWhereItDidNotLookAndMakesNothing(t *testing.T) {
	t.Parallel()
	broker := testenv.StartNATS(t, testenv.NATSConfig{})
	s := newShell(t, "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK="+broker.URL(), "WAYBILL_SINKS__DEFAULT__CREATE=true", "WAYBILL_SINKS__DEFAULT__STREAM=all", "WAYBILL_SINKS__DEFAULT__SUBJECTS=>")
	s.write("app.db", "") // no table can be read
	out, _, code := s.run("doctor", "-o", "json")
	if code != fault.Problems || !strings.Contains(out, `"ok": false`) || !strings.Contains(out, "what holds the topics in the outbox was not looked at") {
		t.Errorf("without tables: exit %d: %s", code, out)
	}
	s.must("migrate", "up")
	s.must("send", "--topic", "orders", "--type", "a")
	if results, code := examine(t, s); code != fault.OK {
		t.Errorf("with tables: exit %d: %+v", code, results)
	}
	atBroker(t, broker.URL(), func(js jetstream.JetStream) error {
		for name := range js.StreamNames(t.Context()).Name() {
			t.Errorf("doctor made the stream %s", name)
		}
		return nil
	})
}

type checked func(topics []string) []relay.Finding

func (c checked) Check(_ context.Context, topics []string) ([]relay.Finding, error) {
	return c(topics), nil
}

func TestARunningRelayLooksAtTheBrokerForATopicThatIsNew(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.env = append(s.env, "WAYBILL_SOURCE=sqlite:"+filepath.Join(s.dir, "app.db"), "WAYBILL_SINK=nats://127.0.0.1:1")
	s.must("migrate", "up")
	cfg, err := config.Load(config.Input{Env: s.env})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	a := &app{globals: globals{Timeout: time.Minute}, log: slog.New(slog.NewTextHandler(&log, nil))}
	asked := make(chan string)
	check := checked(func(topics []string) []relay.Finding {
		asked <- strings.Join(topics, " ")
		return []relay.Finding{{Text: "WB2201 of all"}, {Refuse: slices.Contains(topics, "lossy"), Text: "WB2203 of " + strings.Join(topics, " ")}}
	})
	ended := make(chan error, 1)
	go func() {
		ended <- a.checkBroker(t.Context(), cfg, &running{name: "default", sourceName: "default", sinkName: "default"}, check, time.Millisecond)
	}()
	if topics := <-asked; topics != "" {
		t.Errorf("of an outbox that is empty %q is asked", topics)
	}
	for _, topic := range []string{"orders", "lossy"} {
		s.must("send", "--topic", topic, "--type", "a")
		if topics := <-asked; topics != topic {
			t.Errorf("asked for %q, want %q", topics, topic)
		}
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "WB4701") {
		t.Errorf("ended with %v", err)
	}
	if n := strings.Count(log.String(), "of all"); n != 1 {
		t.Errorf("the same is told %d times: %s", n, log.String())
	}
}
