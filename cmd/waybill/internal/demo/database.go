package demo

import (
	"context"
	"database/sql"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// takenAddress belongs to nobody who registers here: a request with it fails after its first statement.
const takenAddress = "taken@example.org"

const tables = `
CREATE TABLE registration (
	pos      INTEGER PRIMARY KEY AUTOINCREMENT,
	request  INTEGER NOT NULL UNIQUE,
	customer INTEGER NOT NULL,
	version  INTEGER NOT NULL,
	UNIQUE (customer, version)
);
CREATE TABLE email (address TEXT PRIMARY KEY);
INSERT INTO email VALUES ('` + takenAddress + `');`

// openDatabase opens the SQLite file of one service, as all its processes do.
func openDatabase(dir, service string) (*sql.DB, error) {
	options := url.Values{
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(NORMAL)"},
		"_txlock": {"immediate"},
	}
	path := url.URL{Path: filepath.Join(dir, service+".db")}
	file := url.URL{Scheme: "file", Opaque: path.EscapedPath(), RawQuery: options.Encode()}
	return sql.Open("sqlite", file.String())
}

// readRows returns the registrations behind pos, in commit order, and the last pos.
func readRows(ctx context.Context, db *sql.DB, pos int64) ([]entry, int64, error) {
	rows, err := db.QueryContext(ctx, "SELECT pos, request, customer, version FROM registration WHERE pos > ? ORDER BY pos", pos)
	if err != nil {
		return nil, pos, err
	}
	defer rows.Close()
	var entries []entry
	for rows.Next() {
		var e entry
		if err := rows.Scan(&pos, &e.Request, &e.Customer, &e.Version); err != nil {
			return nil, pos, err
		}
		entries = append(entries, e)
	}
	return entries, pos, rows.Err()
}
