package publish

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/schema"
)

// awkward are messages that some escape, driver or column might change.
func awkward() []waybill.Message {
	nasty := `{"a":"b\c",'d';$$ %s ?1 $1 NULL,}{\"` + "€𝄞é\u2028"
	return []waybill.Message{
		{ID: "1", Topic: "t", Type: "nil payload"},
		{ID: "2", Topic: "t", Type: "empty payload", Payload: []byte{}},
		{ID: `3"\,{}'`, Topic: "t", Key: nasty, Type: nasty, Payload: []byte(nasty), ContentType: `a/b; c="\"{}"`,
			Headers: []waybill.Header{{Name: "z", Value: nasty}, {Name: "a", Value: ""}},
			Time:    time.Date(2026, 2, 3, 4, 5, 6, 789012000, time.UTC)},
		{ID: "4", Topic: "t", Type: "bytes", Payload: []byte{0, 255, '\\', 0}, Time: time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)},
		{ID: "5", Topic: "t", Type: "NULL", Key: "NULL", Payload: []byte("null"), Time: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)},
	}
}

func TestMessagesStandInTheOutboxAsGiven(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		for name, cfg := range map[string]waybill.Config{"together": {}, "one by one": {}, "with the key lock": {KeyLock: true}} {
			o, want := d.newOutbox(t, cfg), awkward()
			if name == "one by one" {
				for _, m := range want {
					d.publish(t, o, m)
				}
			} else {
				d.publish(t, o, want...)
			}
			if got := d.stored(t); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: stored\n%q, want\n%q", name, got, want)
			}
			d.exec(t, `DELETE FROM `+d.outbox)
		}
	})
}

func TestPosFollowsTheOrderOfArguments(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		var want []waybill.Message
		for i := range 5000 {
			want = append(want, waybill.Message{ID: fmt.Sprint(i), Topic: "t", Key: fmt.Sprint(i % 7), Type: "n", Payload: fmt.Append(nil, i)})
		}
		for _, keyLock := range []bool{false, true} {
			d.publish(t, d.newOutbox(t, waybill.Config{KeyLock: keyLock}), want...)
			if got := d.stored(t); !reflect.DeepEqual(got, want) {
				t.Errorf("key lock %v: %d messages stored are not the %d given, in their order", keyLock, len(got), len(want))
			}
			d.exec(t, `DELETE FROM `+d.outbox)
		}
	})
}

func TestAMessageSharesTheFateOfItsTransactionAndSavepoint(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		o := d.newOutbox(t, waybill.Config{})
		tx := d.begin(t)
		step := func(query string) {
			t.Helper()
			if _, err := tx.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
		publish := func(id string) {
			t.Helper()
			if err := o.Publish(t.Context(), waybill.SQL(tx), waybill.Message{ID: id, Topic: "t", Type: "n"}); err != nil {
				t.Fatal(err)
			}
		}
		publish("kept-1")
		step(`SAVEPOINT s`)
		publish("dropped-with-the-savepoint")
		step(`ROLLBACK TO s`)
		publish("kept-2")
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		tx = d.begin(t)
		publish("dropped-with-the-transaction")
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, m := range d.stored(t) {
			ids = append(ids, m.ID)
		}
		if want := []string{"kept-1", "kept-2"}; !slices.Equal(ids, want) {
			t.Errorf("stored %q, want %q", ids, want)
		}
	})
}

func TestNothingIsWrittenWhenOneMessageIsFaulty(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		tx := d.begin(t)
		err := d.newOutbox(t, waybill.Config{}).Publish(t.Context(), waybill.SQL(tx), waybill.Message{Topic: "t", Type: "n"}, waybill.Message{Topic: "t", Type: ""})
		if !errors.Is(err, waybill.ErrRequired) {
			t.Errorf("got %v, want ErrRequired", err)
		}
		if err := tx.Commit(); err != nil {
			t.Errorf("the transaction is not usable any more: %v", err)
		}
		if got := d.stored(t); len(got) != 0 {
			t.Errorf("stored %q", got)
		}
	})
}

func TestAnErrorOfTheDatabaseSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) database{"postgres": postgres, "sqlite": sqlite} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t)
			o := d.newOutbox(t, waybill.Config{})
			message := waybill.Message{Topic: "t", Type: "n"}
			check := func(err error, want string) {
				t.Helper()
				if err == nil || !strings.Contains(err.Error(), "WB3002") || !strings.Contains(err.Error(), "Try: "+want) {
					t.Errorf("got %v, want WB3002 and Try: %s", err, want)
				}
			}
			tx := d.begin(t)
			check(o.Publish(t.Context(), waybill.SQL(tx), message), "waybill migrate up")
			if d.dialect == dialect.Postgres {
				check(o.Publish(t.Context(), waybill.SQL(tx), message), "look for the earlier error")
			}
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			check(o.Publish(t.Context(), waybill.SQL(tx), message), "publish before Commit or Rollback")
			if _, err := schema.Apply(t.Context(), d.db, d.dialect); err != nil {
				t.Fatal(err)
			}
			if d.dialect != dialect.Postgres {
				return
			}
			tx = d.begin(t)
			if _, err := tx.ExecContext(t.Context(), `SET TRANSACTION READ ONLY`); err != nil {
				t.Fatal(err)
			}
			check(o.Publish(t.Context(), waybill.SQL(tx), message), "begin a read-write transaction")
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPublishWritesTheTableOfTheConfiguration(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		if err := schema.ApplyFlagged(t.Context(), d.db, d.dialect); err != nil {
			t.Fatal(err)
		}
		d.outbox += "_flagged"
		d.publish(t, d.newOutbox(t, waybill.Config{Table: d.outbox}), awkward()...)
		if got := d.stored(t); !reflect.DeepEqual(got, awkward()) {
			t.Errorf("stored %q", got)
		}
		var unpublished int
		if err := d.db.QueryRowContext(t.Context(), `SELECT count(*) FROM `+d.outbox+` WHERE NOT is_published`).Scan(&unpublished); err != nil || unpublished != 5 {
			t.Errorf("%d messages wait (%v), want 5", unpublished, err)
		}
	})
}

// A session may show times as it likes.
func TestTheSessionsSettingsDoNotChangeTimes(t *testing.T) {
	t.Parallel()
	d := migratedPostgres(t)
	o := d.newOutbox(t, waybill.Config{})
	tx := d.begin(t)
	if _, err := tx.ExecContext(t.Context(), `SET LOCAL TimeZone = 'Asia/Tokyo'; SET LOCAL DateStyle = 'German, DMY'`); err != nil {
		t.Fatal(err)
	}
	for _, msgs := range [][]waybill.Message{awkward()[2:3], awkward()[3:]} {
		if err := o.Publish(t.Context(), waybill.SQL(tx), msgs...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, want := d.stored(t), awkward()[2:]; !reflect.DeepEqual(got, want) {
		t.Errorf("stored\n%q, want\n%q", got, want)
	}
}
