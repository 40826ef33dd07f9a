package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	sink "github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/source/postgres"
)

// stream is a JetStream stream and what an independent consumer finds in it.
type stream struct {
	t  *testing.T
	js jetstream.JetStream
	jetstream.Stream
}

func newStream(t *testing.T, server *testenv.NATS, subjects ...string) *stream {
	t.Helper()
	nc, err := nats.Connect(server.URL(), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: subjects})
	if err != nil {
		t.Fatal(err)
	}
	return &stream{t, js, s}
}

// ids are the messages in the stream, in its order.
func (s *stream) ids() (list []string) {
	for seq := uint64(1); ; seq++ {
		m, err := s.GetMsg(s.t.Context(), seq)
		if err != nil {
			return list // behind the last one
		}
		list = append(list, m.Header.Get("ce-id"))
	}
}

func (s *stream) want(ids ...string) {
	s.t.Helper()
	var have []string
	defer func() {
		if s.t.Failed() {
			s.t.Logf("in the stream: %v", have)
		}
	}()
	within(s.t, fmt.Sprintf("messages %v in the stream", ids), func() bool {
		have = s.ids()
		for _, id := range ids {
			if !slices.Contains(have, id) {
				return false
			}
		}
		return true
	})
}

// Rows that did not come through Publish: what no broker can carry is held with its key, the others flow, and once the row is
// repaired its key is released in order.
func TestPoisonRowsHoldTheirKeyUntilTheyAreRepaired(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	out := newStream(t, testenv.StartNATS(t, testenv.NATSConfig{}), "orders")
	target, err := sink.New(out.js.Conn().ConnectedUrl(), sink.Config{})
	s.must(err)
	t.Cleanup(func() { target.Close() })

	const insert = `INSERT INTO waybill.outbox (id, topic, key, type, payload, headers, time) VALUES ($1, $2, $3, $4, $5, $6, $7::timestamptz)`
	poison := map[string]struct{ remedy string }{
		"headers": {`headers = NULL`},
		"pairs":   {`headers = '[["a","b"]]'`},
		"noname":  {`headers = NULL`},
		"nul":     {`headers = NULL`},
		"notopic": {`topic = 'orders'`},
		"notype":  {`type = 'order.changed'`},
		"large":   {`payload = 'small'`},
	}
	s.exec(insert, "headers", "orders", "headers", "t", []byte("x"), `{"not": "pairs"`, nil)
	s.exec(insert, "pairs", "orders", "pairs", "t", []byte("x"), `[["a"]]`, nil)
	s.exec(insert, "noname", "orders", "noname", "t", []byte("x"), `[["","b"]]`, nil)
	s.exec(insert, "nul", "orders", "nul", "t", []byte("x"), `[["a","\u0000"]]`, nil)
	s.exec(insert, "notopic", "", "notopic", "t", []byte("x"), nil, nil)
	s.exec(insert, "notype", "orders", "notype", "", []byte("x"), nil, nil)
	s.exec(insert, "large", "orders", "large", "t", make([]byte, 2<<20), nil, nil)
	// These are unusual, and none of them is poison.
	odd := []string{"infinity", "past", "far", "ünï/💥", `a"b'c\d`, "-", "nokey"}
	for i, when := range []any{"infinity", "-infinity", "20000-01-01", nil, nil, nil, nil} {
		key := odd[i]
		if key == "nokey" {
			key = ""
		}
		s.exec(insert, "odd"+fmt.Sprint(i), "orders", key, "t", []byte("x"), `[["a","é\"\\ ☃"]]`, when)
	}
	if _, err := s.db.Exec(insert, "never", "orders", "a\x00b", "t", []byte{0}, nil, nil); err == nil || !strings.Contains(err.Error(), "0x00") {
		t.Errorf("a key with NUL gave %v: it must not get into the table", err)
	}
	var behind, free []string
	for key := range poison {
		s.publish(key, "behind-"+key)
		behind = append(behind, "behind-"+key)
	}
	for i := range odd {
		free = append(free, "odd"+fmt.Sprint(i))
		s.publish(odd[i], "free"+fmt.Sprint(i))
		free = append(free, "free"+fmt.Sprint(i))
	}

	r := s.run(s.source(postgres.Config{}), target, relay.Config{})
	out.want(free...)
	within(t, "the poison to be set aside with all behind it", func() bool {
		return s.number(`SELECT count(*) FROM waybill.parked WHERE state = 'held'`) == int64(2*len(poison))
	})
	for _, id := range out.ids() {
		if poison, held := poison[id]; held || slices.Contains(behind, id) {
			t.Errorf("%s is in the stream: %v", id, poison)
		}
	}
	if n := s.number(`SELECT count(*) FROM waybill.parked WHERE id NOT LIKE 'behind-%' AND (error = '' OR attempts < 1)`); n > 0 {
		t.Errorf("%d messages are held without a reason or an attempt", n)
	}
	for key, of := range poison {
		s.exec(`UPDATE waybill.parked SET `+of.remedy+` WHERE id = $1`, key)
	}
	out.want(behind...)
	have := out.ids()
	for key := range poison {
		if slices.Index(have, key) > slices.Index(have, "behind-"+key) || !slices.Contains(have, key) {
			t.Errorf("key %s: %v", key, have)
		}
	}
	within(t, "nothing to be set aside any more", func() bool { return s.number(`SELECT count(*) FROM waybill.parked`) == 0 })
	r.stop()
	if n := len(out.ids()); n != len(free)+2*len(poison) {
		t.Errorf("%d messages in the stream, want %d", n, len(free)+2*len(poison))
	}
}
