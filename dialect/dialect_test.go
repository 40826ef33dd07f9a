package dialect

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestQuoteRefusesWhatCouldEndTheNameOrBeCut(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                      `"waybill"."outbox"`,
		"outbox":                `"outbox"`,
		"App.Outbox_1$":         `"App"."Outbox_1$"`,
		strings.Repeat("x", 63): `"` + strings.Repeat("x", 63) + `"`,
	} {
		if got, err := Postgres.Quote(name); got != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", name, got, err, want)
		}
	}
	if got, err := SQLite.Quote(""); got != `"waybill_outbox"` || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	for _, name := range []string{`a"b; drop`, "a.b.c", ".", "a.", "1a", "a b", "ä", "a\n", strings.Repeat("x", 64), "a;", "a--"} {
		if got, err := Postgres.Quote(name); err == nil {
			t.Errorf("%q became %s", name, got)
		}
	}
}

func FuzzQuote(f *testing.F) {
	f.Add(`a"b`)
	f.Add("a.b")
	f.Fuzz(func(t *testing.T, name string) {
		got, err := Postgres.Quote(name)
		if err == nil && name != "" && strings.ReplaceAll(got, `"`, "") != name {
			t.Errorf("%q became %s", name, got)
		}
	})
}

func TestPostgresTakesOneRowAsValuesAndSeveralAsArrays(t *testing.T) {
	t.Parallel()
	insert := Postgres.Insert(`"o"`, false)
	when := time.Date(2026, 2, 3, 4, 5, 6, 789012345, time.FixedZone("", 3600))
	full := Row{ID: "1", Topic: "t", Key: `k"\`, Type: "n", ContentType: "c", Headers: `[["a","b"]]`, Payload: []byte("body"), Time: when}
	bare := Row{ID: "2", Topic: "t", Type: "n"}

	query, args := insert([]Row{full})
	want := []any{"1", "t", `k"\`, "n", "c", `[["a","b"]]`, when.UTC().Truncate(time.Microsecond), []byte("body")}
	if !strings.Contains(query, "VALUES") || !reflect.DeepEqual(args, want) {
		t.Errorf("%s\n%q, want\n%q", query, args, want)
	}
	if _, args = insert([]Row{bare}); !reflect.DeepEqual(args[5:], []any{nil, nil, nil}) {
		t.Errorf("without headers, time and payload: %q", args)
	}

	query, args = insert([]Row{full, bare, {ID: "3", Payload: []byte{}}, {ID: "4", Payload: []byte("x")}})
	want = []any{
		`{"1","2","3","4"}`, `{"t","t","",""}`, `{"k\"\\","","",""}`, `{"n","n","",""}`, `{"c","","",""}`, `{"[[\"a\",\"b\"]]",NULL,NULL,NULL}`,
		`{"2026-02-03 03:05:06.789012+00",NULL,NULL,NULL}`, []byte("bodyx"), `{1,5,5,5}`, `{4,-1,0,1}`,
	}
	if !strings.Contains(query, "unnest") || !reflect.DeepEqual(args, want) {
		t.Errorf("%s\n%q, want\n%q", query, args, want)
	}
}

func TestTheKeyLockHas256BucketsInOrder(t *testing.T) {
	t.Parallel()
	insert := Postgres.Insert(`"o"`, true)
	rows := make([]Row, 20_000)
	for i := range rows {
		rows[i].Key = fmt.Sprint(i)
	}
	query, args := insert(rows)
	var all []string
	for i := range 256 {
		all = append(all, fmt.Sprint(i))
	}
	if want := "{" + strings.Join(all, ",") + "}"; args[10] != want || !strings.Contains(query, "pg_advisory_xact_lock(1466005858, b)") {
		t.Errorf("buckets %v", args[10])
	}
	if _, args := insert([]Row{{}}); args[10] != "{}" {
		t.Errorf("a row without a key locks %v", args[10])
	}
}

func TestSQLiteTakesAllRowsAsOneDocument(t *testing.T) {
	t.Parallel()
	_, args := SQLite.Insert(`"o"`, true)([]Row{{ID: "1", Topic: "t", Key: "k\"\\", Type: "n", Payload: []byte("ab"), Time: time.UnixMicro(7)}, {ID: "2"}, {ID: "3", Headers: "h", Payload: []byte{}}})
	want := []any{`[["1","t","k\"\\","n","",null,7,1,2],["2","","","","",null,null,3,-1],["3","","","","","h",null,3,0]]`, []byte("ab")}
	if !reflect.DeepEqual(args, want) {
		t.Errorf("%q, want %q", args, want)
	}
}

type stateError string

func (e stateError) Error() string    { return "ERROR" }
func (e stateError) SQLState() string { return string(e) }

func TestHintsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d    Dialect
		err  error
		want string
	}{
		{Postgres, stateError("42P01"), "waybill migrate up"},
		{Postgres, fmt.Errorf("wrapped: %w", stateError("42501")), "GRANT waybill_writer TO the user of this connection"},
		{Postgres, stateError("23505"), ""},
		{Postgres, errors.New("EOF"), ""},
		{Postgres, sql.ErrTxDone, "publish before Commit or Rollback"},
		{SQLite, sql.ErrTxDone, "publish before Commit or Rollback"},
		{SQLite, errors.New("SQL logic error: no such table: waybill_outbox (1)"), "waybill migrate up"},
		{SQLite, errors.New("database is locked (5)"), "begin with BEGIN IMMEDIATE (_txlock=immediate) and set a busy_timeout"},
		{SQLite, errors.New("disk full"), ""},
	} {
		if got := c.d.Hint(c.err); got != c.want {
			t.Errorf("%s, %v: %q, want %q", c.d.Name(), c.err, got, c.want)
		}
	}
}
