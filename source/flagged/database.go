package flagged

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/sqlstore"
)

// database is what differs between databases. The funcs take a column and return an expression.
type database struct {
	table, parked string                         // names: the default outbox, and the messages set aside
	arg           func(n int) string             // the n-th placeholder
	text          func(column string) string     // as text
	size          func(column string) string     // its bytes, roughly
	among         func(column string) string     // whether it is in the list $1
	list          func(positions []int64) string // writes that list
	nullable      string                         // counts the columns $2 of table $1 that may be null
	store         func(*sql.DB) *sqlstore.Store
	open          func(context.Context, *sql.DB) (conn, error)
}

// conn is where a reader reads.
type conn interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	// Changed tells whether there may be anything new since the last call. It comes first in every look.
	Changed(ctx context.Context) (bool, error)
	// Flush waits until what was read is durable.
	Flush(ctx context.Context) error
	// Interrupted is called after a context ended inside another call.
	Interrupted()
	Close() error
}

func databaseOf(d dialect.Dialect) (*database, error) {
	for of, database := range map[dialect.Dialect]*database{dialect.Postgres: postgres, dialect.SQLite: sqlite} {
		if d != nil && d.Name() == of.Name() {
			return database, nil
		}
	}
	return nil, errors.New("waybill: WB4215 the flagged source cannot read this database. Try: dialect.Postgres or dialect.SQLite")
}

// statements of one table.
type statements struct{ unpublished, rows, publish string }

func (d *database) statements(cfg Config) statements {
	c := cfg.Columns
	text := func(column, constant string) string {
		switch {
		case constant != "":
			return "'" + strings.ReplaceAll(constant, "'", "''") + "'"
		case column == "":
			return "''"
		}
		return "coalesce(" + d.text("t."+column) + ", '')"
	}
	created := "NULL"
	var times []string
	if c.Time != "" {
		times = append(times, "t."+c.Time)
	}
	if c.CreatedAt != "" {
		created = "t." + c.CreatedAt
		times = append(times, created)
	}
	columns := []string{"t." + c.Pos, text(c.ID, ""), text(c.Topic, cfg.Topic), text(c.Key, ""), text(c.Type, cfg.Type),
		"t." + c.Payload, text(c.ContentType, ""), text(c.Headers, ""), "coalesce(" + strings.Join(append(times, "NULL", "NULL"), ", ") + ")", created}
	return statements{
		// A scalar subquery, because NOT EXISTS may become a join of the whole backlog. In two steps, because the rows in flight
		// are among those that are not published, and their payloads need not come again.
		unpublished: "SELECT t." + c.Pos + ", coalesce(" + d.size("t."+c.Payload) + ", 0) FROM " + cfg.Table + " AS t WHERE NOT t." + c.IsPublished +
			" AND (SELECT count(*) FROM " + d.parked + " AS p WHERE p.relay = " + d.arg(1) + " AND p.pos = t." + c.Pos + ") = 0" +
			" ORDER BY t." + c.Pos + " LIMIT " + d.arg(2),
		rows:    "SELECT " + strings.Join(columns, ", ") + " FROM " + cfg.Table + " AS t WHERE " + d.among("t."+c.Pos) + " ORDER BY t." + c.Pos,
		publish: "UPDATE " + cfg.Table + " AS t SET " + c.IsPublished + " = TRUE WHERE " + d.among("t."+c.Pos),
	}
}
