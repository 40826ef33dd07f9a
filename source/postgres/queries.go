package postgres

import "strings"

// queries are the statements of one outbox table.
type queries struct{ look, bounds, page, topic string }

func newQueries(table string) queries {
	const columns = `pos::bigint AS pos, id, topic, key, type, payload, content_type, headers, time::timestamptz AS time, created_at::timestamptz AS created_at`
	// A generic plan evaluates a cast of a parameter for every row; a subquery parses the snapshot once.
	fill := strings.NewReplacer("{table}", table, "{columns}", columns,
		"{$3}", "(SELECT $3::text::pg_snapshot)", "{$4}", "(SELECT $4::text::pg_snapshot)").Replace
	page := func(more string) string {
		// The conditions are expressions on purpose: no index matches them, so the primary key gives the order.
		return fill(`SELECT {columns} FROM {table} WHERE pos > $1 AND pos <= $2 ` +
			`AND pg_visible_in_snapshot(xid, {$3}) AND NOT pg_visible_in_snapshot(xid, {$4}) ` + more + `ORDER BY {table}.pos LIMIT $5`)
	}
	return queries{
		// $1, $2: xmax and running transactions of S0. $3: limit. The rows are materialised before they are sorted, or the planner
		// would walk the primary key through all retained rows. The parameter types stand there because text can be cast to xid8.
		// The first row is S1 and an end of the log taken after it, the last row is how far the log is flushed by now.
		look: fill(`WITH w AS MATERIALIZED (` +
			`SELECT {columns} FROM {table} WHERE xid >= $1::text::xid8 ` +
			`UNION ALL ` +
			`SELECT {columns} FROM {table} WHERE xid = ANY ($2::text::xid8[]) ` +
			`LIMIT $3) ` +
			`SELECT 0::bigint AS pos, pg_current_snapshot()::text AS id, pg_current_wal_insert_lsn()::text AS topic, ` +
			`coalesce(current_setting('waybill.session', true), '') AS key, '' AS type, NULL::bytea AS payload, '' AS content_type, ` +
			`NULL::text AS headers, NULL::timestamptz AS time, NULL::timestamptz AS created_at ` +
			`UNION ALL SELECT * FROM w ` +
			`UNION ALL SELECT 9223372036854775807, '', pg_current_wal_flush_lsn()::text, '', '', NULL, '', NULL, now(), NULL ` +
			`ORDER BY pos`),
		// count(*) keeps the planner from answering min and max by a walk over the primary key; unless n is used, it is left out.
		// Nothing from S1's xmax on is visible: a range that ended long ago must not walk over all that came since.
		bounds: fill(`SELECT low - 1, high FROM (` +
			`SELECT min(pos) AS low, max(pos) AS high, count(*) AS n FROM {table} WHERE xid = ANY ($2::text::xid8[]) AND pg_visible_in_snapshot(xid, {$3}) GROUP BY xid ` +
			`UNION ALL ` +
			`SELECT min(pos), max(pos), count(*) FROM {table} WHERE xid >= $1::text::xid8 AND xid < $4::text::xid8 AND pg_visible_in_snapshot(xid, {$3})) AS part ` +
			`WHERE n > 0 ORDER BY low`),
		page:  page(""),
		topic: page(`AND topic || '' = $6 `),
	}
}
