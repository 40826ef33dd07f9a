package store

import (
	"database/sql"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/flagged"
	"github.com/waybillhq/waybill/waybilltest"
)

func flaggedHarness(t *testing.T, d dialect.Dialect, open func(*testing.T) *sql.DB, table string,
	lacks map[waybilltest.SourceAbility]string,
) waybilltest.SourceHarness {
	t.Helper()
	app := open(t)
	return waybilltest.SourceHarness{
		Open: func(t *testing.T) (relay.Source, relay.Store) {
			src := newFlagged(t, open(t), d, flagged.Config{})
			return src, src
		},
		Begin: func(t *testing.T) waybilltest.Transaction { return begin(t, app, d, table) },
		Lacks: lacks,
	}
}

func newFlagged(t *testing.T, db *sql.DB, d dialect.Dialect, cfg flagged.Config) *flagged.Source {
	t.Helper()
	src, err := flagged.New(db, d, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func message(id string) waybill.Message {
	return waybill.Message{ID: id, Topic: "topic", Key: "k", Type: "type", Payload: []byte(id)}
}

// foreign is a table that Waybill did not make, with every column named otherwise or missing.
var foreign = flagged.Config{
	Table: "Shop$Events",
	Columns: flagged.Columns{
		Pos: "seq", ID: "seq", Key: "order", Payload: "body", IsPublished: "sent",
		ContentType: flagged.None, Headers: flagged.None, Time: flagged.None, CreatedAt: flagged.None, Topic: flagged.None, Type: "kind",
	},
	Topic: "it's",
}

func TestFlaggedReadsAnyTable(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]struct {
		d     dialect.Dialect
		open  func(t *testing.T) *sql.DB
		table string
	}{
		"postgres": {dialect.Postgres, func(t *testing.T) *sql.DB { _, open := postgresDatabase(t); return open(t) },
			`CREATE TABLE "Shop$Events" (seq serial PRIMARY KEY, "order" int, kind varchar(20), body jsonb, sent boolean NOT NULL DEFAULT false)`},
		"sqlite": {dialect.SQLite, func(t *testing.T) *sql.DB { return sqliteFile(t)(t) },
			`CREATE TABLE "Shop$Events" (seq INTEGER PRIMARY KEY, "order" INT, kind TEXT, body TEXT, sent BOOLEAN NOT NULL DEFAULT false)`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := of.open(t)
			exec(t, db, of.table)
			exec(t, db, `INSERT INTO "Shop$Events" ("order", kind, body, sent) VALUES (1, 'a', '{}', true), (7, 'b', '{"n": 1}', false), (NULL, NULL, NULL, false)`)
			src := newFlagged(t, db, of.d, foreign)
			tenure := acquire(t, src, "a")
			reader, err := src.Open(t.Context(), tenure.Position)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			batch, err := reader.Read(t.Context(), relay.Budget{Messages: 10, Bytes: 1000})
			if err != nil || len(batch.Messages) != 2 {
				t.Fatalf("read %+v, %v", batch.Messages, err)
			}
			want := waybill.Message{ID: "2", Topic: "it's", Key: "7", Type: "b", Payload: []byte(`{"n": 1}`)}
			if have := batch.Messages[0]; have.Pos != 2 || !reflect.DeepEqual(have.Message, want) {
				t.Errorf("read %+v, want %+v", have, want)
			}
			if have := batch.Messages[1]; have.Pos != 3 || have.Key != "" || have.Payload != nil {
				t.Errorf("the nulls became %+v", have)
			}
			if err := src.Save(t.Context(), tenure.Lease, relay.Save{Published: []*relay.Message{&batch.Messages[1]}}); err != nil {
				t.Fatal(err)
			}
			var sent string
			if err := db.QueryRow(`SELECT min(seq) || ' of ' || count(*) FROM "Shop$Events" WHERE NOT sent`).Scan(&sent); err != nil || sent != "2 of 1" {
				t.Errorf("not published: %s, %v", sent, err)
			}
		})
	}
}

func TestFlaggedRefusesWhatWouldGoWrongLater(t *testing.T) {
	t.Parallel()
	_, openPostgres := postgresDatabase(t)
	pg, lite := openPostgres(t), sqliteFile(t)(t)
	for _, db := range []*sql.DB{pg, lite} {
		exec(t, db, `CREATE TABLE nullable (pos int PRIMARY KEY, id int, topic text, "key" text, type text, payload text, is_published boolean)`)
	}
	few := flagged.Columns{ContentType: flagged.None, Headers: flagged.None, Time: flagged.None, CreatedAt: flagged.None}
	for _, of := range []struct {
		name string
		cfg  flagged.Config
		want string
	}{
		{"is_published may be null", flagged.Config{Table: "nullable", Columns: few}, "WB1402"},
		{"no such table", flagged.Config{Table: "missing"}, "Try: waybill migrate up"},
		{"no such column", flagged.Config{Columns: flagged.Columns{Key: "missing"}}, "WB1401"},
		{"a name that is SQL", flagged.Config{Table: `a"; DROP TABLE x; --`}, "WB4201"},
		{"a column that is SQL", flagged.Config{Columns: flagged.Columns{Pos: `pos) FROM x; --`}}, "Columns.Pos: waybill: WB4201"},
		{"a column with a dot", flagged.Config{Columns: flagged.Columns{Pos: `a.b`}}, "WB4214"},
		{"a column that must be there", flagged.Config{Columns: flagged.Columns{ID: flagged.None}}, "Columns.ID"},
		{"pauses the wrong way round", flagged.Config{PollMin: time.Second, PollMax: time.Millisecond}, "WB4212"},
	} {
		t.Run(of.name, func(t *testing.T) {
			for d, db := range map[dialect.Dialect]*sql.DB{dialect.Postgres: pg, dialect.SQLite: lite} {
				src, err := flagged.New(db, d, of.cfg)
				if err == nil {
					var reader relay.Reader
					if reader, err = src.Open(t.Context(), ""); err == nil {
						reader.Close()
					}
				}
				if err == nil || !strings.Contains(err.Error(), of.want) {
					t.Errorf("%s: %v, want %q", d.Name(), err, of.want)
				}
			}
		})
	}
}

// A message set aside is not read again, and comes back when its row leaves the parked table unpublished.
func TestFlaggedRefusesAnAttachedDatabase(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"other.outbox", "main.waybill_outbox_flagged"} {
		if _, err := flagged.New(sqliteFile(t)(t), dialect.SQLite, flagged.Config{Table: table}); err == nil || !strings.Contains(err.Error(), "WB4213") {
			t.Errorf("%s: %v", table, err)
		}
	}
}

func TestFlaggedLeavesOutWhatIsSetAside(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (*sql.DB, dialect.Dialect, string){
		"postgres": func(t *testing.T) (*sql.DB, dialect.Dialect, string) {
			_, open := postgresDatabase(t)
			return open(t), dialect.Postgres, "waybill.outbox_flagged"
		},
		"sqlite": func(t *testing.T) (*sql.DB, dialect.Dialect, string) {
			return sqliteFile(t)(t), dialect.SQLite, "waybill_outbox_flagged"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, d, table := open(t)
			src := newFlagged(t, db, d, flagged.Config{})
			tenure := acquire(t, src, "a")
			publish := func(id string) {
				tx := begin(t, db, d, table)
				tx.Publish(message(id))
				tx.Commit()
			}
			reader, err := src.Open(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { reader.Close() }()
			read := func(want string) relay.Message {
				t.Helper()
				batch, err := reader.Read(t.Context(), relay.Budget{Messages: 10, Bytes: 1000})
				if err != nil || len(batch.Messages) != 1 || batch.Messages[0].ID != want {
					t.Fatalf("read %+v, %v, want %s", batch.Messages, err, want)
				}
				return batch.Messages[0]
			}
			save := func(s relay.Save) {
				t.Helper()
				if err := src.Save(t.Context(), tenure.Lease, s); err != nil {
					t.Fatal(err)
				}
			}
			publish("1")
			aside := relay.Parked{Message: read("1"), Lane: "k", State: relay.StateHeld}
			save(relay.Save{Park: []relay.Parked{aside}})
			publish("2")
			two := read("2")
			save(relay.Save{Published: []*relay.Message{&two}})
			reader.Close()
			if reader, err = src.Open(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			save(relay.Save{Unpark: []relay.Parked{aside}})
			read("1")
		})
	}
}
