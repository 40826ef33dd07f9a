package schema

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

var sqlite = database{
	prefix: "waybill_",
	// SQLite does not wait with everything: it fails at once where waiting could be for ever.
	busy: func(err error) bool { return strings.Contains(err.Error(), "database is locked") },
	begin: func(ctx context.Context, conn *sql.Conn) (func(), error) {
		var timeout int
		if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&timeout); err != nil {
			return nil, err
		}
		end := context.WithoutCancel(ctx)
		restore := func() { _, _ = conn.ExecContext(end, fmt.Sprintf("PRAGMA busy_timeout = %d", timeout)) } // an open connection takes it
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", patience.Milliseconds())); err != nil {
			return nil, err
		}
		if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
			restore()
			return nil, err
		}
		return restore, nil
	},
	exists: func(ctx context.Context, q querier, table string) (there bool, err error) {
		err = q.QueryRowContext(ctx, "SELECT count(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = ?", table).Scan(&there)
		return there, err
	},
	check: checkSQLite,
}

const sqliteColumns = `
outbox|pos|INTEGER|null|
outbox|id|TEXT|not null|
outbox|topic|TEXT|not null|
outbox|key|TEXT|not null|''
outbox|type|TEXT|not null|
outbox|payload|BLOB|null|
outbox|content_type|TEXT|not null|''
outbox|headers|TEXT|null|
outbox|time|INTEGER|null|
outbox|created_at|INTEGER|not null|CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000
lease|relay|TEXT|null|
lease|owner|TEXT|not null|
lease|epoch|INTEGER|not null|
lease|expires_at|INTEGER|not null|
lease|asked|INTEGER|not null|0
cursor|relay|TEXT|not null|
cursor|branch|TEXT|not null|''
cursor|epoch|INTEGER|not null|
cursor|position|TEXT|not null|''
cursor|saved_at|INTEGER|not null|CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000
cursor|topics|TEXT|null|
cursor|since|INTEGER|null|
cursor|error|TEXT|not null|''
parked|relay|TEXT|not null|
parked|pos|INTEGER|not null|
parked|incarnation|INTEGER|not null|
parked|lane|TEXT|not null|
parked|state|TEXT|not null|
parked|attempts|INTEGER|not null|0
parked|error|TEXT|not null|''
parked|id|TEXT|not null|
parked|topic|TEXT|not null|
parked|key|TEXT|not null|''
parked|type|TEXT|not null|
parked|payload|BLOB|null|
parked|content_type|TEXT|not null|''
parked|headers|TEXT|null|
parked|time|INTEGER|null|
parked|parked_at|INTEGER|not null|CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000
parked|request|TEXT|null|
parked|requested_by|TEXT|null|
parked|edit|TEXT|null|
audit|n|INTEGER|null|
audit|at|INTEGER|not null|CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000
audit|who|TEXT|not null|
audit|action|TEXT|not null|
audit|relay|TEXT|not null|
audit|pos|INTEGER|null|
audit|id|TEXT|not null|''
audit|before|TEXT|null|
log|name|TEXT|null|
log|incarnation|INTEGER|not null|
`

func checkSQLite(ctx context.Context, q querier) (faults Faults, err error) {
	var encoding string
	if err := q.QueryRowContext(ctx, "PRAGMA encoding").Scan(&encoding); err != nil {
		return nil, err
	}
	if encoding != "UTF-8" {
		faults.add("database", "has encoding "+encoding, "create the database with PRAGMA encoding = 'UTF-8'")
	}
	rows, err := texts(ctx, q, `SELECT substr(t.name, 9), c.name, c.type, CASE WHEN c."notnull" THEN 'not null' ELSE 'null' END, coalesce(c.dflt_value, '')
		FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name LIKE 'waybill!_%' ESCAPE '!'`)
	if err != nil {
		return nil, err
	}
	have, want := columnsOf(rows), columnsOf(split(sqliteColumns))
	if have.has("outbox_flagged") {
		want = append(want, want.as("outbox", "outbox_flagged")...)
		want = append(want, column{"outbox_flagged", "is_published", "INTEGER", "not null", "0"})
	}
	faults = append(faults, compare(want, have, "waybill_", func(want column, have *column) string {
		if have == nil && want.null == "null" {
			return fmt.Sprintf("ALTER TABLE waybill_%s ADD COLUMN %q %s;", want.table, want.name, want.typ)
		}
		return "rebuild the table as waybill migrate print shows (https://sqlite.org/lang_altertable.html#otheralter)"
	})...)
	for _, table := range []string{"outbox", "outbox_flagged"} {
		var text string
		if !have.has(table) {
			continue
		}
		// Without it SQLite gives the pos of a deleted newest row a second time, behind the cursor.
		if err := q.QueryRowContext(ctx, "SELECT sql FROM sqlite_master WHERE name = ?", "waybill_"+table).Scan(&text); err != nil {
			return nil, err
		}
		if !strings.Contains(strings.ToUpper(text), "AUTOINCREMENT") {
			faults.add("waybill_"+table+".pos", "is not AUTOINCREMENT", "rebuild the table as waybill migrate print shows")
		}
	}
	var views int
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE type = 'view' AND name = 'waybill_outbox_status'").Scan(&views); err != nil {
		return nil, err
	}
	if views == 0 && have.has("outbox") {
		faults.add("view waybill_outbox_status", "is missing", "create it as waybill migrate print shows")
	}
	return faults, nil
}
