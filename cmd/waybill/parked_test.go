package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/cmd/waybill/internal/look"
	"github.com/waybillhq/waybill/internal/testenv"
)

// asideTable is a database in which a test sets messages aside by itself.
type asideTable struct {
	shell
	*sql.DB
	prefix string
}

func (d asideTable) exec(query string, args ...any) {
	d.t.Helper()
	if _, err := d.DB.Exec(query, args...); err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
}

func (d asideTable) text(query string) (text string) {
	d.t.Helper()
	if err := d.DB.QueryRow(query).Scan(&text); err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	return text
}

func (d asideTable) aside(relay string, pos int, state, topic, key, reason string) {
	d.t.Helper()
	d.exec(`INSERT INTO `+d.prefix+`parked (relay, pos, incarnation, lane, state, attempts, error, id, topic, "key", type, payload, headers)
		VALUES ($1, $2, 1, $3, $4, 1, $5, $6, $7, $8, 'order.created', $9, '[["trace","1"]]')`, relay, pos, "="+key, state, reason, fmt.Sprint("id-", pos), topic, key, []byte("body"))
}

// onEachDatabase runs a test in a shell whose relay, default, has such a database as its source.
func onEachDatabase(t *testing.T, run func(t *testing.T, d asideTable)) {
	t.Parallel()
	for _, name := range []string{"postgres", "sqlite"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := asideTable{shell: newShell(t, "WAYBILL_SINK=nats://127.0.0.1:1", "WAYBILL_SOURCE=sqlite:app.db"), prefix: "waybill_"}
			driver, dsn := "sqlite", "file:"+filepath.Join(d.dir, "app.db")+"?_pragma=busy_timeout(10000)"
			if name == "postgres" {
				driver, dsn = "pgx", testenv.Database(t)
				d.env, d.prefix = append(d.env, "WAYBILL_SOURCE="+dsn), "waybill."
			}
			d.must("migrate", "up", "--flagged")
			db, err := sql.Open(driver, dsn)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			d.DB = db
			run(t, d)
		})
	}
}

type listed struct {
	Messages []asideJSON
	More     int
	Set      string
}

func (d asideTable) list(args ...string) (v listed, ids string) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(d.must(append([]string{"parked", "list", "-o", "json"}, args...)...)), &v); err != nil {
		d.t.Fatal(err)
	}
	for _, m := range v.Messages {
		ids += fmt.Sprint(m.Pos, " ")
	}
	return v, ids
}

func TestMessagesSetAsideAreListedAndChosen(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, d asideTable) {
		d.aside("default", 1, "parked", "orders", "k", `WB2123 message id-1: 1000 bytes exceed "a"`)
		d.aside("default", 2, "held", "orders", "k", `WB2123 message id-2: 2000 bytes exceed "b"`)
		d.aside("default", 3, "held", "orders", "k", "")
		d.aside("default", 4, "parked", "invoices", "l", "WB2101 timeout")
		d.aside("abandoned", 5, "parked", "orders", "k", "WB2101 timeout")
		all, _ := d.list()
		group := all.Messages[1].Group
		for _, of := range []struct {
			args []string
			want string
		}{
			{nil, "5 1 2 3 4 "},
			{[]string{"--relay", "default"}, "1 2 3 4 "},
			{[]string{"--relay", "abandoned"}, "5 "},
			{[]string{"--topic", "invoices"}, "4 "},
			{[]string{"--key", "k", "--state", "held"}, "2 3 "},
			{[]string{"--id", "id-2", "--id", "id-4"}, "2 4 "},
			{[]string{"--error", group}, "1 2 "},
			{[]string{"--error", look.Waiting}, "3 "},
			{[]string{"--limit", "2"}, "5 1 "},
			{[]string{"--error", "none"}, ""},
		} {
			if v, got := d.list(of.args...); got != of.want || (v.More == 3) != (len(of.args) == 2 && of.args[1] == "2") {
				t.Errorf("%v lists %q and %d more, want %q", of.args, got, v.More, of.want)
			}
		}
		var grouped struct{ Groups []errorGroup }
		if err := json.Unmarshal([]byte(d.must("parked", "list", "--group", "--relay", "default", "-o", "json")), &grouped); err != nil {
			t.Fatal(err)
		}
		if g := grouped.Groups[0]; len(grouped.Groups) != 3 || g.Group != group || g.Count != 2 || g.Example.Pos != 1 || g.Error != `WB2123 message #: # bytes exceed "…"` && g.Error != `WB2123 message id-#: # bytes exceed "…"` {
			t.Errorf("groups: %+v", grouped.Groups)
		}
		if table := d.must("parked", "list", "--limit", "1"); !strings.Contains(table, "1 messages, and 4 more") {
			t.Errorf("the table says\n%s", table)
		}
		if strings.Contains(d.must("parked", "list"), "body") {
			t.Error("a list has a body")
		}
	})
}

func TestEverythingOfOneMessageIsShown(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, d asideTable) {
		for pos := 1; pos <= 3; pos++ {
			d.aside("default", pos, "held", "orders", "k", strings.Repeat("WB2101 timeout", 2-min(pos, 2)))
		}
		d.aside("other", 3, "parked", "orders", "k", "WB2101 timeout")
		d.exec(`UPDATE ` + d.prefix + `parked SET content_type = 'text/plain', request = 'edit', requested_by = 'her', edit = '{"payload":"00"}' WHERE pos = 1`)
		d.exec(`INSERT INTO ` + d.prefix + `audit (who, action, relay, pos, id, before) VALUES ('him', 'edit', 'default', 1, 'id-1', '{"topic":"old"}')`)
		var v wholeJSON
		if err := json.Unmarshal([]byte(d.must("parked", "show", "id-1", "-o", "json")), &v); err != nil {
			t.Fatal(err)
		}
		if v.Payload == nil || *v.Payload != "body" || v.Bytes != 4 || v.Behind != 2 || v.ContentType != "text/plain" || len(v.Headers) != 1 || v.Headers[0] != (headerJSON{"trace", "1"}) ||
			len(v.History) != 1 || v.History[0].Who != "him" || string(v.History[0].Before) != `{"topic":"old"}` && !strings.Contains(string(v.History[0].Before), `"topic": "old"`) || v.RequestedBy != "her" {
			t.Errorf("%+v", v)
		}
		text := d.must("parked", "show", "1")
		for _, want := range []string{"\nbody          4 bytes, text\nbody\n", "edit of payload by her", "ago edit by him", "trace=1", "2 of its key"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		if _, stderr, code := d.run("parked", "show", "3"); code != fault.Usage || !strings.Contains(stderr, "Try: --relay ") {
			t.Errorf("exit %d: %s", code, stderr)
		}
		d.must("parked", "show", "3", "--relay", "other")
		d.exec(`INSERT INTO ` + d.prefix + `audit (who, action, relay, pos, id) VALUES ('him', 'retry', 'default', 9, 'id-9'), ('her', 'discard', 'default', 9, 'id-9')`)
		if _, stderr, code := d.run("parked", "show", "id-9"); code != fault.Failed || !strings.Contains(stderr, "for relay default it was discarded: ") || !strings.Contains(stderr, "ago by her") {
			t.Errorf("exit %d: %s", code, stderr)
		}
	})
}

func TestABodyIsShownAsWhatItIs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", shownBody)
	for _, of := range []struct {
		whole []byte
		part  int
		want  string
	}{
		{nil, 0, "none: a tombstone"},
		{[]byte{}, 0, "0 bytes, text"},
		{[]byte("{}\n"), 3, "3 bytes, text\n{}\n"},
		{[]byte("\x1b[31m"), 5, "5 bytes, not text\n00000000  1b 5b"},
		{[]byte(long), shownBody - 1, "8192 bytes, text; its first 4094 (--full shows all)\nü"},
	} {
		if got := bodyText(of.whole, of.whole[:of.part]); !strings.Contains(got, of.want) {
			t.Errorf("%.20q is shown as %.80q", of.whole, got)
		}
	}
}

func TestAScriptActsOnExactlyTheSetThatItSaw(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, d asideTable) {
		for pos := 1; pos <= 3; pos++ {
			d.aside("default", pos, "parked", "orders", "k", "WB2101 timeout")
		}
		v, _ := d.list("--key", "k")
		refused := func(code string, args ...string) {
			t.Helper()
			if _, stderr, exit := d.run(append([]string{"parked"}, args...)...); !strings.Contains(stderr, code) || exit != fault.Refused && exit != fault.Usage {
				t.Errorf("%v: exit %d: %s", args, exit, stderr)
			}
		}
		refused("WB4802", "discard")
		refused("WB4802", "discard", "--relay", "default")
		refused("WB4802", "discard", "--all")
		refused("WB4802", "discard", "1", "--key", "k")
		refused("WB4804", "discard", "--key", "k")
		refused("WB4804", "discard", "--key", "k", "--yes")
		refused("WB4804", "discard", "--key", "k", "--set", v.Set)
		refused("WB4803", "discard", "--key", "k", "--yes", "--set", "xyz")
		d.exec(`UPDATE ` + d.prefix + `parked SET attempts = 2 WHERE pos = 2`)
		refused("3 attempts in all, now 4", "discard", "--key", "k", "--yes", "--set", v.Set)
		d.exec(`UPDATE ` + d.prefix + `parked SET attempts = 1`)
		d.aside("default", 4, "parked", "orders", "k", "")
		refused("3 messages, now 4", "discard", "--key", "k", "--yes", "--set", v.Set)
		d.exec(`DELETE FROM ` + d.prefix + `parked WHERE pos = 4`)
		if n := d.text(`SELECT count(*) FROM ` + d.prefix + `parked WHERE request IS NOT NULL`); n != "0" {
			t.Errorf("%s are asked for", n)
		}
		stdout, stderr, code := d.run("parked", "discard", "--relay", "default", "--all", "--yes", "--set", v.Set)
		if code != 0 || !strings.Contains(stderr, "no process runs relay default: it is asked for and will be done when one starts") || strings.Count(stdout, "not yet") != 3 {
			t.Errorf("exit %d\n%s%s", code, stdout, stderr)
		}
		if n := d.text(`SELECT count(*) FROM ` + d.prefix + `parked WHERE request = 'discard' AND requested_by LIKE '%@%'`); n != "3" {
			t.Errorf("%s are asked for", n)
		}
		if _, stderr, code := d.run("parked", "retry", "id-9"); code != 1 || !strings.Contains(stderr, "WB4801") {
			t.Errorf("exit %d: %s", code, stderr)
		}
	})
}

func TestAnEditIsCheckedAsPublishChecks(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, d asideTable) {
		d.aside("default", 1, "parked", "orders", "k", "WB2101 timeout")
		edit := func() string {
			return d.text(`SELECT coalesce(max(edit), '') FROM ` + d.prefix + `parked`)
		}
		for _, of := range []struct {
			args []string
			code int
			want string
		}{
			{nil, fault.Usage, "key and id cannot be edited: the key gives the order"},
			{[]string{"--key", "new", "--type", "x"}, fault.Usage, "leave --key and --id away"},
			{[]string{"--header", "Nats-Rollup=all"}, fault.Failed, "WB3104"},
			{[]string{"--header", "a"}, fault.Usage, "WB4601"},
			{[]string{"--topic", "a..b"}, fault.Failed, "WB3103"},
			{[]string{"--payload", "none.json"}, fault.Failed, "none.json"},
			{[]string{"--topic", "orders", "--header", "none="}, fault.Usage, "nothing of message id-1 changes"},
			{[]string{"--editor"}, fault.Failed, "neither VISUAL nor EDITOR"},
		} {
			_, stderr, code := d.run(append([]string{"parked", "edit", "1"}, of.args...)...)
			if code != of.code || !strings.Contains(stderr, of.want) || edit() != "" {
				t.Errorf("%v: exit %d, edit %q: %s", of.args, code, edit(), stderr)
			}
		}
		d.must("parked", "edit", "1", "--payload", "-", "--header", "TRACE=", "--header", "b=x=y", "--content-type", "")
		if got := edit(); got != `{"headers":"[[\"b\",\"x=y\"]]","payload":"626f64792066726f6d207374616e6461726420696e707574"}` {
			t.Errorf("asked for %s", got)
		}
		d.write("editor.sh", "#!/bin/sh\nprintf mended > \"$2\"\n")
		if err := os.Chmod(filepath.Join(d.dir, "editor.sh"), 0o700); err != nil {
			t.Fatal(err)
		}
		d.env = append(d.env, "EDITOR="+filepath.Join(d.dir, "editor.sh")+" -n", "VISUAL=")
		d.must("parked", "edit", "1", "--editor")
		if got := edit(); got != `{"headers":"[[\"b\",\"x=y\"]]","payload":"6d656e646564"}` {
			t.Errorf("the second edit forgot the first: %s", got)
		}
	})
}

func TestWhoMayOnlyLookSeesNoBody(t *testing.T) {
	t.Parallel()
	url := testenv.Database(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d := asideTable{shell: newShell(t, "WAYBILL_SINK=nats://127.0.0.1:1", "WAYBILL_SOURCE="+url), DB: db, prefix: "waybill."}
	d.must("migrate", "up", "--roles")
	d.aside("default", 1, "parked", "orders", "k", "WB2101 timeout")
	d.exec(`INSERT INTO waybill.cursor (relay, epoch, position) VALUES ('default', 1, '3:3:')`)
	for _, role := range []string{"waybill_ro", "waybill_relay"} {
		d.env = append(d.env, "WAYBILL_SOURCE="+url+"&options=-c%20role%3D"+role)
		if _, ids := d.list(); ids != "1 " {
			t.Errorf("%s lists %q", role, ids)
		}
		d.must("parked", "list", "--group")
		if out := d.must("status"); !strings.Contains(out, "waybill parked list --relay default") {
			t.Errorf("%s: %s", role, out)
		}
		for _, args := range [][]string{{"show", "1"}, {"retry", "1"}} {
			_, stderr, code := d.run(append([]string{"parked"}, args...)...)
			if denied := strings.Contains(stderr, "WB4806") && strings.Contains(stderr, "Try: a user with the role waybill_relay"); denied != (role == "waybill_ro") || (code == 0) == denied {
				t.Errorf("%s: %v: exit %d: %s", role, args, code, stderr)
			}
		}
	}
}
