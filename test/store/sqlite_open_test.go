package store

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/sqlite"
)

func TestSQLiteRefusesWhatWouldGoWrongLater(t *testing.T) {
	t.Parallel()
	fresh := func(t *testing.T) string { return "file:" + filepath.Join(t.TempDir(), "x.db") }
	for _, of := range []struct {
		name, pragmas, sql string
		cfg                sqlite.Config
		want               string
	}{
		{"no WAL", "", "", sqlite.Config{}, "Try: run PRAGMA journal_mode = WAL"},
		{"no table", "?_pragma=journal_mode(wal)", "", sqlite.Config{}, "Try: waybill migrate up"},
		{"a table that gives numbers twice", "?_pragma=journal_mode(wal)", "CREATE TABLE t (pos INTEGER PRIMARY KEY)", sqlite.Config{Table: "t"}, "WB1210"},
		{"a table of another form", "?_pragma=journal_mode(wal)",
			"CREATE TABLE t (pos INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE waybill_log (name TEXT PRIMARY KEY, incarnation INTEGER)",
			sqlite.Config{Table: "t"}, "WB1205"},
		{"a name that is SQL", "", "", sqlite.Config{Table: `a"; DROP TABLE x; --`}, "WB4201"},
		{"an attached database", "", "", sqlite.Config{Table: "other.outbox"}, "WB4213"},
		{"an unknown start", "", "", sqlite.Config{From: "yesterday"}, "WB4211"},
		{"pauses the wrong way round", "", "", sqlite.Config{PollMin: 2, PollMax: 1}, "WB4212"},
	} {
		t.Run(of.name, func(t *testing.T) {
			db := openDB(t, "sqlite", fresh(t)+of.pragmas)
			exec(t, db, of.sql)
			src, err := sqlite.New(db, of.cfg)
			if err == nil {
				_, err = src.Open(t.Context(), "")
			}
			if err == nil || !strings.Contains(err.Error(), of.want) || relay.IsFatal(err) {
				t.Errorf("got %v, want %q", err, of.want)
			}
		})
	}
}

func TestSQLiteNeedsAConnectionForItself(t *testing.T) {
	t.Parallel()
	db := sqliteFile(t)(t)
	db.SetMaxOpenConns(1)
	src, err := sqlite.New(db, sqlite.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Open(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "SetMaxOpenConns") {
		t.Errorf("got %v", err)
	}
}

func TestSQLiteStopsWhenTheFileWentBack(t *testing.T) {
	t.Parallel()
	db := sqliteFile(t)(t)
	src, err := sqlite.New(db, sqlite.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for position, fatal := range map[relay.Position]bool{"3": false, "4": true, "nonsense": true, "-1": true} {
		exec(t, db, "DELETE FROM waybill_outbox")
		exec(t, db, "DELETE FROM sqlite_sequence")
		tx := begin(t, db, dialect.SQLite, "")
		tx.Publish(message("1"), message("2"), message("3"))
		tx.Commit()
		exec(t, db, "DELETE FROM waybill_outbox") // retention takes nothing back
		reader, err := src.Open(t.Context(), position)
		if err == nil {
			reader.Close()
		}
		if relay.IsFatal(err) != fatal || !fatal && err != nil {
			t.Errorf("position %q: %v", position, err)
		}
	}
}

// A relay that starts now must remember where that was, though it has published nothing.
func TestSQLiteFromNowIsRemembered(t *testing.T) {
	t.Parallel()
	open := sqliteFile(t)
	db := open(t)
	publish := func(id string) {
		tx := begin(t, db, dialect.SQLite, "")
		tx.Publish(message(id))
		tx.Commit()
	}
	src, err := sqlite.New(open(t), sqlite.Config{From: relay.Now})
	if err != nil {
		t.Fatal(err)
	}
	publish("old")
	tenure := acquire(t, src, "a")
	reader, err := src.Open(t.Context(), tenure.Position)
	if err != nil {
		t.Fatal(err)
	}
	publish("new")
	budget := relay.Budget{Messages: 10, Bytes: 1000}
	batch, err := reader.Read(t.Context(), budget)
	if err != nil || len(batch.Messages) != 0 {
		t.Fatalf("first read %v, %v: want a position alone", batch.Messages, err)
	}
	if err := src.Save(t.Context(), tenure.Lease, relay.Save{Position: batch.Position(0)}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if batch, err = reader.Read(t.Context(), budget); err != nil || len(batch.Messages) != 1 || batch.Messages[0].ID != "new" {
			t.Fatalf("read %v, %v: want the message that came after the start", batch.Messages, err)
		}
		reader.Close()
		if reader, err = src.Open(t.Context(), acquire(t, src, "a").Position); err != nil {
			t.Fatal(err)
		}
	}
	reader.Close()
}

// A writer that keeps the database locked is nothing to start anew for.
func TestSQLiteWaitsForAnotherWriter(t *testing.T) {
	t.Parallel()
	open := sqliteFile(t)
	src, err := sqlite.New(open(t), sqlite.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tenure := acquire(t, src, "a")
	parked := relay.Save{Position: "1", Park: []relay.Parked{{Message: relay.Message{Pos: 1}, Lane: "k", State: relay.StateHeld}}}
	for _, save := range []relay.Save{{Position: "1"}, parked} {
		writer := begin(t, open(t), dialect.SQLite, "")
		short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if err := src.Save(short, tenure.Lease, save); err == nil {
			t.Error("a save came through beside another writer")
		}
		result := make(chan error)
		go func() { result <- src.Save(t.Context(), tenure.Lease, save) }()
		writer.Commit()
		if err := <-result; err != nil {
			t.Errorf("the save did not wait: %v", err)
		}
	}
}
