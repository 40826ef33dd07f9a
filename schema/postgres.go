package schema

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/waybillhq/waybill/dialect"
)

var postgres = database{
	prefix: "waybill.",
	begin: func(ctx context.Context, conn *sql.Conn) (func(), error) {
		// Read committed, or the snapshot would be older than the end of the wait for the lock.
		if _, err := conn.ExecContext(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED"); err != nil {
			return nil, err
		}
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("SELECT pg_advisory_xact_lock(%d, -1)", dialect.KeyLockClass)); err != nil {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // the lock's error says more
			return nil, err
		}
		return func() {}, nil
	},
	exists: func(ctx context.Context, q querier, table string) (there bool, err error) {
		err = q.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&there)
		return there, err
	},
	check: checkPostgres,
}

// postgresColumns is table, column, type as format_type writes it, null or not, default as pg_get_expr writes it.
const postgresColumns = `
outbox|pos|bigint|not null|
outbox|xid|xid8|not null|pg_current_xact_id()
outbox|id|text|not null|
outbox|topic|text|not null|
outbox|key|text|not null|''::text
outbox|type|text|not null|
outbox|payload|bytea|null|
outbox|content_type|text|not null|''::text
outbox|headers|text|null|
outbox|time|timestamp with time zone|null|
outbox|created_at|timestamp with time zone|not null|clock_timestamp()
lease|relay|text|not null|
lease|owner|text|not null|
lease|epoch|bigint|not null|
lease|expires_at|timestamp with time zone|not null|
lease|asked|boolean|not null|false
cursor|relay|text|not null|
cursor|branch|text|not null|''::text
cursor|epoch|bigint|not null|
cursor|position|text|not null|''::text
cursor|saved_at|timestamp with time zone|not null|clock_timestamp()
cursor|topics|text|null|
cursor|since|timestamp with time zone|null|
cursor|error|text|not null|''::text
parked|relay|text|not null|
parked|pos|bigint|not null|
parked|incarnation|bigint|not null|
parked|lane|text|not null|
parked|state|text|not null|
parked|attempts|integer|not null|0
parked|error|text|not null|''::text
parked|id|text|not null|
parked|topic|text|not null|
parked|key|text|not null|''::text
parked|type|text|not null|
parked|payload|bytea|null|
parked|content_type|text|not null|''::text
parked|headers|text|null|
parked|time|timestamp with time zone|null|
parked|parked_at|timestamp with time zone|not null|clock_timestamp()
parked|request|text|null|
parked|requested_by|text|null|
parked|edit|text|null|
audit|n|bigint|not null|
audit|at|timestamp with time zone|not null|clock_timestamp()
audit|who|text|not null|
audit|action|text|not null|
audit|relay|text|not null|
audit|pos|bigint|null|
audit|id|text|not null|''::text
audit|before|text|null|
log|name|text|not null|
log|incarnation|bigint|not null|
log|system_identifier|text|null|
log|timeline|bigint|null|
`

// postgresIndexes is table, columns, and whether the index must be unique. Without (xid, pos) a relay scans all retained rows.
const postgresIndexes = `
outbox|pos|unique
outbox|xid,pos|
lease|relay|unique
cursor|relay,branch|unique
parked|relay,pos|unique
parked|relay,lane,pos|
log|name|unique
`

func checkPostgres(ctx context.Context, q querier) (faults Faults, err error) {
	var version, encoding string
	var standby bool
	err = q.QueryRowContext(ctx, `SELECT current_setting('server_version_num'), pg_encoding_to_char(encoding), pg_is_in_recovery()
		FROM pg_database WHERE datname = current_database()`).Scan(&version, &encoding, &standby)
	if err != nil {
		return nil, err
	}
	if n, err := strconv.Atoi(version); err != nil || n < 130000 {
		faults.add("server", "has version number "+version+", which is too old", "upgrade to PostgreSQL 13 or newer")
		return faults, nil // the queries below need its functions
	}
	if encoding != "UTF8" {
		faults.add("database", "has encoding "+encoding, "create the database with ENCODING 'UTF8'")
	}
	if standby {
		faults.add("server", "is a standby: nothing can be published and no order can be read", "connect to the primary")
	}

	rows, err := texts(ctx, q, `SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
			CASE WHEN a.attnotnull THEN 'not null' ELSE 'null' END, coalesce(pg_get_expr(d.adbin, d.adrelid), '')
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE c.relnamespace = to_regnamespace('waybill') AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped`)
	if err != nil {
		return nil, err
	}
	have := columnsOf(rows)
	want := columnsOf(split(postgresColumns))
	if have.has("outbox_flagged") {
		want = append(want, want.as("outbox", "outbox_flagged")...)
		want = append(want, column{"outbox_flagged", "is_published", "boolean", "not null", "false"})
	}
	faults = append(faults, compare(want, have, "waybill.", alterPostgres)...)

	indexes, err := texts(ctx, q, `SELECT c.relname, string_agg(a.attname, ',' ORDER BY k.n), CASE WHEN i.indisunique THEN 'unique' ELSE '' END
		FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k(attnum, n)
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
		WHERE c.relnamespace = to_regnamespace('waybill') AND i.indisvalid AND i.indpred IS NULL GROUP BY i.indexrelid, c.relname, i.indisunique`)
	if err != nil {
		return nil, err
	}
	for _, w := range split(postgresIndexes) {
		table, columns, unique := w[0], w[1], w[2]
		if have.has(table) && !contains(indexes, w) {
			faults.add("waybill."+table, fmt.Sprintf("has no valid %s index on (%s)", unique, columns),
				fmt.Sprintf("CREATE %s INDEX CONCURRENTLY ON waybill.%s (%s);", unique, table, columns))
		}
	}
	more, err := checkPostgresObjects(ctx, q, have)
	return append(faults, more...), err
}

func checkPostgresObjects(ctx context.Context, q querier, have columns) (faults Faults, err error) {
	// A cache hands numbers out of order: pos would no longer follow the order of publishing within a key.
	pos, err := texts(ctx, q, `SELECT c.relname, CASE WHEN a.attidentity = 'a' AND s.seqcache = 1 AND s.seqincrement > 0 AND NOT s.seqcycle THEN 'ok' ELSE '' END
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'pos'
		LEFT JOIN pg_sequence s ON s.seqrelid = pg_get_serial_sequence(c.oid::regclass::text, 'pos')::regclass
		WHERE c.relnamespace = to_regnamespace('waybill') AND c.relname IN ('outbox', 'outbox_flagged') AND c.relkind IN ('r', 'p')`)
	if err != nil {
		return nil, err
	}
	for _, p := range pos {
		if p[1] != "ok" {
			faults.add("waybill."+p[0]+".pos", "is not GENERATED ALWAYS AS IDENTITY with CACHE 1, a positive INCREMENT and NO CYCLE",
				"ALTER TABLE waybill."+p[0]+" ALTER COLUMN pos SET GENERATED ALWAYS SET INCREMENT 1 SET CACHE 1 SET NO CYCLE;")
		}
	}
	if !have.has("outbox") {
		return faults, nil
	}
	for _, o := range [][2]string{
		{"view waybill.outbox_status", `to_regclass('waybill.outbox_status')`},
		{"function waybill.publish with a payload of bytea", `to_regprocedure('waybill.publish(text,text,text,bytea,text,text,text)')`},
		{"function waybill.publish with a payload of text", `to_regprocedure('waybill.publish(text,text,text,text,text,text,text)')`},
	} {
		var there bool
		if err := q.QueryRowContext(ctx, `SELECT `+o[1]+` IS NOT NULL`).Scan(&there); err != nil {
			return nil, err
		}
		if !there {
			faults.add(o[0], "is missing", "create it as waybill migrate print shows")
		}
	}
	return faults, nil
}

func alterPostgres(want column, have *column) string {
	column := fmt.Sprintf("ALTER TABLE waybill.%s ALTER COLUMN %s ", want.table, want.name)
	switch {
	case have == nil:
		text := fmt.Sprintf("ALTER TABLE waybill.%s ADD COLUMN %s %s", want.table, want.name, want.typ)
		if want.null != "null" {
			text += " NOT NULL"
		}
		if want.def != "" {
			text += " DEFAULT " + want.def
		}
		return text + ";"
	case have.typ != want.typ:
		return column + "TYPE " + want.typ + ";"
	case have.null != want.null && want.null == "null":
		return column + "DROP NOT NULL;"
	case have.null != want.null:
		return column + "SET NOT NULL;"
	case want.def == "":
		return column + "DROP DEFAULT;"
	}
	return column + "SET DEFAULT " + want.def + ";"
}
