package look

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/schema"
)

func sqliteDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := schema.Apply(t.Context(), db, dialect.SQLite); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestPendingIsOfTheRelaysTopicsAndOfABranchByItself(t *testing.T) {
	t.Parallel()
	for d, open := range map[dialect.Dialect]func(*testing.T) *sql.DB{dialect.Postgres: postgresDB, dialect.SQLite: sqliteDB} {
		t.Run(d.Name(), func(t *testing.T) {
			t.Parallel()
			db, beginning := open(t), map[string]string{"postgres": "3:3:", "sqlite": "0"}[d.Name()]
			sql := func(query string) {
				t.Helper()
				if d == dialect.SQLite {
					query = strings.NewReplacer("waybill.", "waybill_", "clock_timestamp() - interval '1 minute'", "CAST((unixepoch('subsec') - 60) * 1000000 AS INTEGER)").Replace(query)
				}
				exec(t, db, query)
			}
			for i, topic := range []string{"a.x", "a.x", "a.y", "a.y", "a.y", "b", "aXx", "a%x"} {
				sql(fmt.Sprintf(`INSERT INTO waybill.outbox (id, topic, type) VALUES ('m%d', '%s', 't')`, i, topic))
			}
			s := Source{Topics: []string{"a.x", "b"}}
			r, err := Look(t.Context(), db, d, s, "r")
			if err != nil || *r.Pending != 3 || !slices.Equal(r.Topics, s.Topics) {
				t.Errorf("a relay that never ran: %+v, %v", r, err)
			}
			sql(`INSERT INTO waybill.cursor (relay, epoch, position, topics) VALUES ('r', 1, '` + beginning + `', '["a.*","none"]')`)
			sql(`INSERT INTO waybill.cursor (relay, branch, epoch, position, since, error) VALUES ('r', 'a.y', 1, '` + beginning + `', clock_timestamp() - interval '1 minute', 'why')`)
			r, err = Look(t.Context(), db, d, s, "r")
			if err != nil || *r.Pending != 2 || !slices.Equal(r.Topics, []string{"a.*", "none"}) || len(r.Branches) != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			if b := r.Branches[0]; b.Topic != "a.y" || *b.Pending != 3 || b.Error != "why" || b.Since.Round(10e9).Seconds() != 60 {
				t.Errorf("the branch: %+v", b)
			}
			sql(`UPDATE waybill.cursor SET topics = NULL`)
			if r, err = Look(t.Context(), db, d, s, "r"); err != nil || *r.Pending != 5 || len(r.Topics) != 0 {
				t.Errorf("every topic: %+v, %v", r, err)
			}
		})
	}
}

func TestARelayThatStoppedForHeldKeysIsKnown(t *testing.T) {
	t.Parallel()
	db := postgresDB(t)
	exec(t, db, `INSERT INTO waybill.cursor (relay, epoch, position) VALUES ('r', 1, '3:3:')`)
	exec(t, db, `INSERT INTO waybill.parked (relay, pos, incarnation, lane, state, error, id, topic, type) SELECT 'r', n, 1, 'k' || n, 'held', 'why', 'm' || n, 't', 't' FROM generate_series(1, $1) AS n`, MaxHeld+1)
	for n, want := range []bool{true, false, false} {
		if r, err := Look(t.Context(), db, dialect.Postgres, Source{}, "r"); err != nil || r.TooMany != want {
			t.Errorf("%d: %+v, %v", n, r, err)
		}
		if n == 0 { // it runs
			exec(t, db, `INSERT INTO waybill.lease (relay, owner, epoch, expires_at) VALUES ('r', 'me', 1, clock_timestamp() + interval '1 minute')`)
		} else {
			exec(t, db, `DELETE FROM waybill.lease`)
			exec(t, db, `DELETE FROM waybill.parked WHERE pos = 1`)
		}
	}
}

func TestErrorsOfOneCauseAreOneGroup(t *testing.T) {
	t.Parallel()
	name := func(text, id string) string {
		name, _ := Group(text, id)
		return name
	}
	one := name(`waybill: WB2123 jetstream: message order-abc: payload of 1000 bytes, "x\"y" at 127.0.0.1:4222`, "order-abc")
	for _, text := range []string{
		`waybill: WB2123 jetstream: message 0199d5f0-5b5e-7cc4-9d5f-0a1b2c3d4e5f: payload of 9 bytes, "" at 10.0.0.12:1`,
		"waybill: WB2123 jetstream: message m7: payload of 12ab bytes, `q` at 1.2.3.4:5",
		`waybill: WB2123 jetstream: message m7: payload of 1 bytes, 'it' at 1.2.3.4:5`,
	} {
		if name(text, "m7") != one {
			_, shape := Group(text, "m7")
			t.Errorf("%s is of another group: %s", text, shape)
		}
	}
	if name("waybill: WB2124 jetstream: message m7", "m7") == name("waybill: WB2125 jetstream: message m7", "m7") {
		t.Error("two codes are one group")
	}
	if name("", "m") != Waiting || len(one) != 8 {
		t.Errorf("names: %q, %q", name("", "m"), one)
	}
}
