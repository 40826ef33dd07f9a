package publish

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/schema"
)

// Whatever Validate lets pass stands in both databases exactly as it was given, alone and among others.
func FuzzWhatValidatePassesIsStoredAsGiven(f *testing.F) {
	for _, m := range awkward() {
		f.Add(m.ID, m.Topic, m.Key, m.Type, m.ContentType, "x-a", m.Key, m.Payload, m.Payload != nil, m.Time.UnixMicro())
	}
	f.Add("", "a.b", "\u0085", "\u00a0", "", "x", "\ufffe\U0010ffff", []byte{}, true, int64(1))
	link := testenv.Database(f)
	all := []database{
		{open(f, "pgx", link), dialect.Postgres, link, "waybill.outbox"},
		{open(f, "sqlite", "file:fuzz?mode=memory&cache=shared"), dialect.SQLite, "", "waybill_outbox"},
	}
	for _, d := range all {
		if _, err := schema.Apply(context.Background(), d.db, d.dialect); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, id, topic, key, typ, contentType, name, value string, payload []byte, body bool, micros int64) {
		m := waybill.Message{ID: id, Topic: topic, Key: key, Type: typ, ContentType: contentType, Headers: []waybill.Header{{Name: name, Value: value}, {Name: "x-last", Value: value}}}
		if body {
			m.Payload = append([]byte{}, payload...)
		}
		if micros != 0 {
			m.Time = time.UnixMicro(micros).UTC()
		}
		for _, d := range all {
			o := d.newOutbox(t, waybill.Config{})
			if o.Validate(m) != nil {
				return
			}
			for _, msgs := range [][]waybill.Message{{m}, {{ID: "1", Topic: "t", Type: "n", Payload: []byte("before")}, m, {ID: "3", Topic: "t", Type: "n"}}} {
				tx := d.begin(t)
				if err := o.Publish(t.Context(), waybill.SQL(tx), msgs...); err != nil {
					t.Fatalf("%s: Validate passed %q: %v", d.dialect.Name(), m, err)
				}
				got := d.storedIn(t, tx)
				if err := tx.Rollback(); err != nil {
					t.Fatal(err)
				}
				for i := range got {
					if msgs[i].ID == "" {
						got[i].ID = ""
					}
				}
				if !reflect.DeepEqual(got, msgs) {
					t.Errorf("%s: stored\n%q, want\n%q", d.dialect.Name(), got, msgs)
				}
			}
		}
	})
}
