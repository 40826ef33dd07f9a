package postgres

import (
	"slices"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// R3: a transaction draws a low pos and commits after others with a higher one were delivered.
func TestLateCommitterWithALowerNumberIsPublished(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	sink := &recorder{}
	s.run(s.source(postgres.Config{}), sink, relay.Config{})
	late := s.begin()
	late.publish("a", "late")
	s.publish("b", "soon")
	sink.want(t, "soon")
	within(t, "the cursor to be saved", func() bool { return len(s.cursor().S0.Xip) > 0 || s.cursor().S0.Sees(uint64(late.xid())) })
	if !slices.Contains(s.cursor().S0.Xip, uint64(late.xid())) {
		t.Fatalf("the cursor %s does not know that transaction %d still runs", s.cursor(), late.xid())
	}
	late.commit()
	sink.want(t, "late")
	if soon, late := sink.message(t, "soon"), sink.message(t, "late"); late.Pos > soon.Pos {
		t.Errorf("pos %d came late and is not below %d, so this test shows nothing", late.Pos, soon.Pos)
	}
}

// R12: a transaction takes its number early, then waits for the key's lock while another publishes v1, and publishes v2.
func TestEarlierNumberDoesNotOvertake(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]int{"in one look": 1000, "page by page": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.exec(`CREATE TABLE row (n int); INSERT INTO row VALUES (0)`)
			first := s.begin()
			early := first.xid()
			second := s.begin()
			second.run(`UPDATE row SET n = n + 1`)
			second.publish("k", "v1")
			second.commit()
			first.run(`UPDATE row SET n = n + 1`)
			first.publish("k", "v2")
			if early >= s.number(`SELECT xid::text::bigint FROM waybill.outbox WHERE id = 'v1'`) {
				t.Fatal("the order of the numbers is the order of the versions, so this test shows nothing")
			}
			first.commit()

			sink := &recorder{}
			s.run(s.source(postgres.Config{}), sink, relay.Config{Window: 4 * page})
			sink.want(t, "v1", "v2")
			if have := sink.ids(); !slices.Equal(have, []string{"v1", "v2"}) {
				t.Errorf("published %v", have)
			}
		})
	}
}

// R17, and what else a database or role may set by default: none of it changes what is published.
func TestSettingsOfTheDatabaseChangeNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	name := s.text(`SELECT current_database()`)
	for _, setting := range []string{
		`TimeZone = 'Asia/Tokyo'`, `DateStyle = 'SQL, DMY'`, `bytea_output = 'escape'`, `client_encoding = 'LATIN1'`,
		`search_path = ''`, `default_transaction_isolation = 'serializable'`, `default_transaction_read_only = on`,
		`statement_timeout = '300ms'`, `lock_timeout = '300ms'`, `plan_cache_mode = 'force_generic_plan'`, `extra_float_digits = 0`,
		`synchronous_commit = off`, `array_nulls = off`, `standard_conforming_strings = off`, `idle_session_timeout = '300ms'`,
		`idle_in_transaction_session_timeout = '300ms'`, `cursor_tuple_fraction = 0`, `enable_indexscan = off`,
	} {
		s.exec(`ALTER DATABASE ` + name + ` SET ` + setting)
	}
	// The application's connections are older than the settings.
	want := waybill.Message{ID: "all", Topic: "orders", Key: "clé \\ ' \" €", Type: "order.changed", Payload: []byte("\x00\xff\\'"),
		Time: time.Date(2026, 3, 4, 5, 6, 7, 891_234_000, time.UTC), Headers: []waybill.Header{{Name: "x", Value: "né\\\"€"}}}
	tx := s.begin()
	s.must(s.outbox.Publish(t.Context(), waybill.SQL(tx.Tx), want, waybill.Message{ID: "plain", Topic: "orders", Type: "order.changed"}))
	tx.commit()
	sink := &recorder{}
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{Lease: 900 * time.Millisecond})
	sink.want(t, "all", "plain")
	have := sink.message(t, "all")
	if have.Key != want.Key || string(have.Payload) != string(want.Payload) || !have.Time.Equal(want.Time) || !slices.Equal(have.Headers, want.Headers) {
		t.Errorf("published %+v, want %+v", have.Message, want)
	}
	created := s.text(`SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') FROM waybill.outbox WHERE id = 'plain'`)
	if at := sink.message(t, "plain").Time.UTC().Format("2006-01-02T15:04:05.000000"); at != created {
		t.Errorf("the message without a time has %s, want created_at %s", at, created)
	}
	epoch := r.Status().Epoch
	for i := range 20 { // across several renewals, and pauses longer than the timeouts
		time.Sleep(100 * time.Millisecond) // the time that passes is what is tested
		id := names("n", 20)[i]
		s.publish("k", id)
		sink.want(t, id)
	}
	if now := r.Status().Epoch; now != epoch {
		t.Errorf("the relay had to start anew: its epoch went from %d to %d", epoch, now)
	}
	r.stop()
}
