package sink_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	client "github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
)

func TestEachRefusalOfJetStreamHasItsClass(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, &server.Options{})
	c := e.consumer()
	c.makeStream(t, client.StreamConfig{Subjects: []string{"plain"}})
	c.makeStream(t, client.StreamConfig{Subjects: []string{"small"}, MaxMsgSize: 1000})
	c.makeStream(t, client.StreamConfig{Subjects: []string{"full"}, MaxMsgs: 1, Discard: client.DiscardNew})
	c.makeStream(t, client.StreamConfig{Subjects: []string{"sealed"}})
	e.sealed(t, "sealed")
	c.makeStream(t, client.StreamConfig{Subjects: []string{"silent"}, NoAck: true})
	listen(t, e, "service", "hello")
	listen(t, e, "plain", "hello") // beside a stream
	sink := e.sink(t, jetstream.Config{})
	send(t, sink, time.Minute, message("full", "1"))

	big, wide := message("small", "2"), message("plain", "3")
	big.Payload = make([]byte, 2000)
	wide.Headers = []waybill.Header{{Name: "wide", Value: strings.Repeat("x", 70_000)}}
	for _, c := range []struct {
		m    *relay.Message
		want string
		code string
	}{
		{message("plain", "4"), "confirmed", ""},
		{big, "rejected", "WB2113"},
		{wide, "rejected", "WB2113"},
		{message("full", "5"), "temporary", "WB2113"},
		{message("sealed", "6"), "topic", "WB2113"},
		{message("missing", "7"), "topic", "WB2111"},
		{message("silent", "8"), "temporary", "WB2103"},
		{message("service", "9"), "temporary", "WB2103"},
		{message("a..b", "10"), "rejected", "WB2121"},
		{message("orders.*", "11"), "rejected", "WB2121"},
		{message("$JS.API.STREAM.DELETE.plain", "12"), "rejected", "WB2121"},
	} {
		err := send(t, sink, time.Second, c.m)[0]
		if got := class(err); got != c.want || err != nil && (!strings.Contains(err.Error(), c.code) || !strings.Contains(err.Error(), "Try: ")) {
			t.Errorf("%s: %s, %v; want %s %s", c.m.Topic, got, err, c.want, c.code)
		}
	}
}

func TestATopicThatNeverAnswersCostsOtherTopicsNothing(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, &server.Options{})
	c := e.consumer()
	c.makeStream(t, client.StreamConfig{Subjects: []string{"silent"}, NoAck: true})
	c.makeStream(t, client.StreamConfig{Subjects: []string{"busy"}})
	sink := e.sink(t, jetstream.Config{})
	var all sync.WaitGroup
	for n := range 20 {
		ctx, end := context.WithCancel(t.Context())
		all.Add(1)
		sink.Publish(ctx, []*relay.Message{message("silent", "1")}, func(_ int, err error) {
			all.Done()
			if class(err) != "temporary" {
				t.Errorf("silent: %v", err)
			}
		})
		send(t, sink, time.Minute, message("busy", fmt.Sprint("between ", n)))
		timer := time.AfterFunc(time.Duration(n)*200*time.Microsecond, end) // while others are on their way
		for i, err := range send(t, sink, time.Minute, many("busy", n*500, n*500+500)...) {
			if err != nil {
				t.Errorf("busy, batch %d, message %d: %v", n, i, err)
				break
			}
		}
		timer.Stop()
		end()
	}
	all.Wait()
}

func TestAnUnansweredSubjectIsAnOutageWhereThereIsNoJetStream(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	sink := newSink(t, "", jetstream.Config{Options: []nats.Option{nats.InProcessServer(s)}})
	defer sink.Close()
	if err := send(t, sink, time.Minute, message("orders", "1"))[0]; class(err) != "temporary" || !strings.Contains(err.Error(), "WB2105") {
		t.Errorf("got %v", err)
	}
}

func TestAForbiddenTopicIsTheTopics(t *testing.T) {
	t.Parallel()
	allow := func(subjects ...string) *server.Permissions {
		return &server.Permissions{Publish: &server.SubjectPermission{Allow: subjects}}
	}
	e := startEmbedded(t, &server.Options{Users: []*server.User{
		{Username: "admin", Password: "a"},
		{Username: "relay", Password: "r", Permissions: allow("orders.>", "$JS.API.STREAM.NAMES")},
		{Username: "blind", Password: "b", Permissions: allow("orders.>")},
		{Username: "deaf", Password: "d", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{"_INBOX.>"}}}},
	}})
	c := e.consumer(nats.UserInfo("admin", "a"))
	c.makeStream(t, client.StreamConfig{Subjects: []string{"orders.created", `secret"\money`}})
	for _, user := range []string{"relay", "blind"} {
		sink := e.sink(t, jetstream.Config{Options: []nats.Option{nats.UserInfo(user, user[:1])}})
		messages := many("orders.created", 0, 300)
		for i := range messages {
			switch i % 3 {
			case 1:
				messages[i].Topic = `secret"\money`
			case 2:
				messages[i].Topic = "orders.missing"
			}
		}
		for i, err := range send(t, sink, time.Minute, messages...) {
			want := [...]string{"confirmed", "topic", "topic"}[i%3]
			if class(err) != want || i%3 == 1 && !strings.Contains(err.Error(), "WB2112") {
				t.Fatalf("user %s, topic %s: %s, %v; want %s", user, messages[i].Topic, class(err), err, want)
			}
		}
	}
	deaf := e.sink(t, jetstream.Config{Options: []nats.Option{nats.UserInfo("deaf", "d")}})
	if err := send(t, deaf, time.Second, message("orders.created", "x"))[0]; class(err) != "temporary" || !strings.Contains(err.Error(), "Permissions Violation for Subscription") {
		t.Errorf("a user who cannot get replies: %v", err)
	}
}

func TestAStreamIsMadeOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, &server.Options{})
	if err := send(t, e.sink(t, jetstream.Config{}), time.Minute, message("orders.created", "1"))[0]; class(err) != "topic" {
		t.Errorf("without Create: %v", err)
	}
	config := jetstream.Config{Create: true, Stream: "ORDERS", Subjects: []string{"orders.>"}, Duplicates: time.Hour, MaxBytes: 1 << 20}
	for id := range 2 { // the second finds it
		if err := send(t, e.sink(t, config), time.Minute, message("orders.created", fmt.Sprint(id)))[0]; err != nil {
			t.Errorf("with Create: %v", err)
		}
	}
	config.Subjects, config.Duplicates = []string{"other.>"}, time.Minute
	if err := send(t, e.sink(t, config), time.Minute, message("orders.created", "3"))[0]; err != nil {
		t.Errorf("a stream that exists is not touched: %v", err)
	}
	got := e.config(t, "ORDERS")
	if got.Storage != client.FileStorage || got.Discard != client.DiscardNew || got.Duplicates != time.Hour || got.MaxBytes != 1<<20 || got.Subjects[0] != "orders.>" {
		t.Errorf("got %+v", got)
	}
	config.Stream, config.Subjects = "OVERLAP", []string{"orders.>"}
	if err := send(t, e.sink(t, config), time.Minute, message("orders.created", "4"))[0]; class(err) != "temporary" || !strings.Contains(err.Error(), "WB2104") {
		t.Errorf("a stream that cannot be made: %v", err)
	}
}

func TestCheckTellsWhatDoesNotHold(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, &server.Options{})
	c := e.consumer()
	c.makeStream(t, client.StreamConfig{Name: "BAD", Subjects: []string{"bad.*"}, Storage: client.MemoryStorage, MaxAge: time.Hour, MaxMsgs: 10, Duplicates: time.Second, NoAck: true})
	good := e.sink(t, jetstream.Config{Stream: "GOOD", Create: true, Subjects: []string{"good"}})
	for _, when := range []string{"will make", "made"} {
		if found, err := good.Check(t.Context(), []string{"good"}); err != nil || len(found) > 0 {
			t.Errorf("a stream that the sink %s: %v, %v", when, found, err)
		}
		if _, js, _ := e.stream(t, "BAD"); when == "will make" {
			if _, err := js.Stream(t.Context(), "GOOD"); !errors.Is(err, client.ErrStreamNotFound) {
				t.Errorf("Check made the stream: %v", err)
			}
			sendUntilStored(t, good, message("good", "1"))
		}
	}
	found, err := e.sink(t, jetstream.Config{Stream: "GONE"}).Check(t.Context(), []string{"bad.a", "bad.b", "unknown"})
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, f := range found {
		code, _, _ := strings.Cut(f.Text, " ")
		if told[code] || !strings.Contains(f.Text, ". Try: ") {
			t.Errorf("told twice, or without help: %s", f.Text)
		}
		told[code] = true
		if loses := code == "WB2203" || code == "WB2205"; f.Refuse != loses {
			t.Errorf("refuse is %v: %s", f.Refuse, f.Text)
		}
	}
	for _, code := range []string{"WB2111", "WB2202", "WB2203", "WB2204", "WB2205", "WB2206", "WB2207"} {
		if !told[code] {
			t.Errorf("%s is not told in %v", code, found)
		}
	}
	closed := e.sink(t, jetstream.Config{})
	closed.Close()
	if _, err := closed.Check(t.Context(), nil); err == nil {
		t.Error("a closed sink could be asked")
	}
}
