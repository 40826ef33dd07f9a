package look

import (
	"context"
	"database/sql"
	"strconv"
	"strings"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/snapshot"
)

var postgres = statements{
	head: `SELECT coalesce(l.owner, ''), coalesce(extract(epoch FROM l.expires_at - clock_timestamp()), 0)::float8, c.position,
		extract(epoch FROM clock_timestamp() - c.saved_at)::float8
		FROM waybill.cursor AS c LEFT JOIN waybill.lease AS l ON l.relay = c.relay WHERE c.relay = $1 AND c.branch = ''`,
	aside: `SELECT count(*) FILTER (WHERE state = 'held'), count(*) FILTER (WHERE state = 'parked'), count(*)
		FROM (SELECT state FROM waybill.parked WHERE relay = $1 LIMIT $2) AS part`,
	why:     `SELECT id, topic, error FROM waybill.parked WHERE relay = $1 AND error <> '' ORDER BY pos DESC LIMIT 1`,
	pending: pendingPostgres,
	bytes:   `SELECT pg_total_relation_size('{table}'::regclass)`,
}

func pendingPostgres(ctx context.Context, db *sql.DB, s Source, position string) (p pending, err error) {
	table, published, created, pos, err := s.names(dialect.Postgres)
	if err != nil {
		return p, err
	}
	if created == "" {
		created = "NULL::timestamptz"
	}
	query := `SELECT ` + created + ` AS at, ` + pos + ` AS pos FROM ` + table + ` WHERE NOT ` + published + ` ORDER BY ` + pos + ` LIMIT $1`
	last := `SELECT max(` + pos + `) FROM ` + table + ` WHERE NOT ` + published
	args := []any{Most}
	if !s.Flagged {
		cur := snapshot.Cursor{S0: snapshot.Beginning}
		if position != "" {
			if cur, err = snapshot.ParseCursor(position); err != nil {
				return p, err
			}
		}
		// What the oldest span has already got behind it is skipped, so this may be slow: the caller's patience bounds it.
		query = `SELECT created_at AS at, pos FROM (
				SELECT created_at, pos, xid AS x FROM ` + table + ` WHERE xid >= $2::text::xid8
				UNION ALL SELECT created_at, pos, xid FROM ` + table + ` WHERE xid = ANY ($3::text::xid8[])) AS w
			WHERE pos > $4 OR NOT pg_visible_in_snapshot(x, $5::text::pg_snapshot) LIMIT $1`
		last = `SELECT max(pos) FROM ` + table
		args = append(args, strconv.FormatUint(cur.S0.Xmax, 10), xids(cur.S0.Xip), cur.Last, cur.Newest().String())
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return p, err
	}
	defer tx.Rollback()
	// Without statistics the planner may prefer to walk the whole table.
	if _, err := tx.ExecContext(ctx, `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true)`); err != nil {
		return p, err
	}
	err = tx.QueryRowContext(ctx, `SELECT count(*), extract(epoch FROM clock_timestamp() - min(at))::float8, CASE WHEN count(*) >= $1 THEN (`+last+`) - min(pos) + 1 END
		FROM (`+query+`) AS part`, args...).Scan(&p.n, &p.oldest, &p.span)
	return p, err
}

func xids(list []uint64) string {
	texts := make([]string, len(list))
	for i, x := range list {
		texts[i] = strconv.FormatUint(x, 10)
	}
	return "{" + strings.Join(texts, ",") + "}"
}
