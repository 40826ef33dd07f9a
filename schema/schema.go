// Package schema makes Waybill's tables. The migrations are plain SQL files, embedded here; each records itself in the
// table migration, so that [Apply], psql and any migration tool may run them. Nothing here logs.
package schema

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/waybillhq/waybill/dialect"
)

//go:embed postgres sqlite
var files embed.FS

// database is what differs between databases.
type database struct {
	// begin starts a transaction on conn in which nobody else migrates. The func returned undoes what it set besides.
	begin func(ctx context.Context, conn *sql.Conn) (restore func(), err error)
	// exists counts the tables of a name.
	exists func(ctx context.Context, q querier, table string) (bool, error)
	// prefix stands before each table's name.
	prefix string
	// busy tells that somebody else holds the database, and that all of a transaction may be tried again.
	busy  func(error) bool
	check func(ctx context.Context, q querier) (Faults, error)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func of(d dialect.Dialect) (database, error) {
	switch d.Name() {
	case dialect.Postgres.Name():
		return postgres, nil
	case dialect.SQLite.Name():
		return sqlite, nil
	}
	return database{}, fmt.Errorf("waybill: WB4302 there are no migrations for %q. Try: dialect.Postgres or dialect.SQLite", d.Name())
}

// Files returns the migrations of a database, in the order of their names: 0001_waybill.sql and so on, and besides them
// the optional flagged.sql and, for PostgreSQL, roles.sql.
func Files(d dialect.Dialect) (fs.FS, error) {
	if _, err := of(d); err != nil {
		return nil, err
	}
	return fs.Sub(files, d.Name())
}

// Print returns the SQL of all migrations, for people who run it with a tool of their own.
func Print(d dialect.Dialect) (string, error) {
	var text strings.Builder
	list, err := migrations(d)
	for _, m := range list {
		fmt.Fprintf(&text, "-- %s\n%s\n", m.name, m.sql)
	}
	return text.String(), err
}

// PrintFlagged returns the SQL of [ApplyFlagged].
func PrintFlagged(d dialect.Dialect) (string, error) { return read(d, "flagged.sql") }

// PrintRoles returns the SQL of [ApplyRoles].
func PrintRoles(d dialect.Dialect) (string, error) { return read(d, "roles.sql") }

// Apply brings the database up to date, in one transaction, and returns the names of the migrations it applied: none
// when there was nothing to do. Any number of processes may call it at once.
func Apply(ctx context.Context, db *sql.DB, d dialect.Dialect) (applied []string, err error) {
	list, err := migrations(d)
	if err != nil {
		return nil, err
	}
	err = locked(ctx, db, d, func(conn *sql.Conn, b database) error {
		applied = nil
		done, err := recorded(ctx, conn, b)
		if err != nil {
			return err
		}
		for _, m := range list {
			if done[m.version] {
				continue
			}
			if _, err := conn.ExecContext(ctx, m.sql); err != nil {
				return fmt.Errorf("migration %s: %w", m.name, err)
			}
			applied = append(applied, m.name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return applied, nil
}

// ApplyFlagged makes the optional table outbox_flagged, after [Apply], unless it is there.
func ApplyFlagged(ctx context.Context, db *sql.DB, d dialect.Dialect) error {
	text, err := PrintFlagged(d)
	if err != nil {
		return err
	}
	return locked(ctx, db, d, func(conn *sql.Conn, b database) error {
		there, err := b.exists(ctx, conn, b.prefix+"outbox_flagged")
		if err == nil && !there {
			_, err = conn.ExecContext(ctx, text)
		}
		return err
	})
}

// ApplyRoles makes the roles waybill_owner, waybill_writer, waybill_relay and waybill_ro and grants each what it needs and
// no more. PostgreSQL only. Call it after [Apply] and [ApplyFlagged], again after each migration, as a user who may
// create roles.
func ApplyRoles(ctx context.Context, db *sql.DB, d dialect.Dialect) error {
	text, err := PrintRoles(d)
	if err != nil {
		return err
	}
	return locked(ctx, db, d, func(conn *sql.Conn, _ database) error {
		_, err := conn.ExecContext(ctx, text)
		return err
	})
}

type migration struct {
	version   int
	name, sql string
}

func migrations(d dialect.Dialect) (list []migration, err error) {
	if _, err := of(d); err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, d.Name()+"/0*.sql")
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		base := strings.TrimSuffix(path.Base(name), ".sql")
		version, err := strconv.Atoi(base[:4])
		if err != nil {
			return nil, err
		}
		list = append(list, migration{version, base, string(text)})
	}
	return list, err
}

func read(d dialect.Dialect, name string) (string, error) {
	dir, err := Files(d)
	if err != nil {
		return "", err
	}
	text, err := fs.ReadFile(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("waybill: WB4303 %s has no %s", d.Name(), strings.TrimSuffix(name, ".sql"))
	}
	return string(text), err
}

func recorded(ctx context.Context, q querier, b database) (map[int]bool, error) {
	if there, err := b.exists(ctx, q, b.prefix+"migration"); err != nil || !there {
		return nil, err
	}
	versions, err := texts(ctx, q, `SELECT CAST(version AS text) FROM `+b.prefix+`migration`)
	done := make(map[int]bool, len(versions))
	for _, v := range versions {
		n, err := strconv.Atoi(v[0])
		if err != nil {
			return nil, err
		}
		done[n] = true
	}
	return done, err
}

// locked runs fn in a transaction in which nobody else migrates.
func locked(ctx context.Context, db *sql.DB, d dialect.Dialect, fn func(*sql.Conn, database) error) error {
	b, err := of(d)
	if err != nil {
		return err
	}
	for giveUp := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if err = once(ctx, db, b, fn); err == nil || b.busy == nil || !b.busy(err) || ctx.Err() != nil || time.Now().After(giveUp) {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("waybill: WB4304 migrate: %w", err)
	}
	return err
}

// patience bounds the wait for others who migrate.
const patience = 30 * time.Second

func once(ctx context.Context, db *sql.DB, b database, fn func(*sql.Conn, database) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	restore, err := b.begin(ctx, conn)
	if err != nil {
		return err
	}
	defer restore()
	end := context.WithoutCancel(ctx) // the connection goes back to the pool without an open transaction
	if err = fn(conn, b); err == nil {
		if _, err = conn.ExecContext(end, "COMMIT"); err == nil {
			return nil
		}
	}
	_, failed := conn.ExecContext(end, "ROLLBACK")
	return errors.Join(err, failed)
}
