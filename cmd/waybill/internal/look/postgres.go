package look

import (
	"context"
	"database/sql"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/snapshot"
)

var postgres = statements{
	head: `SELECT coalesce(l.owner, ''), coalesce(extract(epoch FROM l.expires_at - clock_timestamp()), 0)::float8, c.position,
		extract(epoch FROM clock_timestamp() - c.saved_at)::float8, coalesce(c.topics, '[]')
		FROM waybill.cursor AS c LEFT JOIN waybill.lease AS l ON l.relay = c.relay WHERE c.relay = $1 AND c.branch = ''`,
	aside: `SELECT count(*) FILTER (WHERE state = 'held'), count(*) FILTER (WHERE state = 'parked'), count(*)
		FROM (SELECT state FROM waybill.parked WHERE relay = $1 LIMIT $2) AS part`,
	why:   `SELECT id, topic, error FROM waybill.parked WHERE relay = $1 AND error <> '' ORDER BY pos DESC LIMIT 1`,
	lanes: `SELECT count(*) FROM (SELECT DISTINCT lane FROM waybill.parked WHERE relay = $1 AND state = 'held' LIMIT $2) AS part`,
	branches: `SELECT branch, coalesce(extract(epoch FROM clock_timestamp() - since), 0)::float8, error, position
		FROM waybill.cursor WHERE relay = $1 AND branch <> '' ORDER BY branch`,
	pending: pendingPostgres,
	bytes:   `SELECT pg_total_relation_size('{table}'::regclass)`,
}

func pendingPostgres(ctx context.Context, db *sql.DB, s Source, position string, of part) (p pending, err error) {
	table, published, created, pos, topic, err := s.names(dialect.Postgres)
	if err != nil {
		return p, err
	}
	if created == "" {
		created = "NULL::timestamptz"
	}
	args := []any{Most}
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	whose := ""
	list := func(texts []string) string {
		text, _ := json.Marshal(texts) // texts always encode
		return "json_array_elements_text(" + arg(string(text)) + "::json)"
	}
	if topic != "" && of.topic != "" {
		whose = ` AND ` + topic + ` = ` + arg(of.topic)
	}
	if topic != "" && len(of.patterns) > 0 {
		whose += ` AND EXISTS (SELECT FROM ` + list(of.patterns) + ` AS p
			WHERE ` + topic + ` LIKE replace(replace(replace(replace(p, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'))`
	}
	if topic != "" && len(of.branches) > 0 {
		whose += ` AND ` + topic + ` NOT IN (SELECT ` + list(of.branches) + `)`
	}
	query := `SELECT ` + created + ` AS at, ` + pos + ` AS pos FROM ` + table + ` WHERE NOT ` + published + whose + ` ORDER BY ` + pos + ` LIMIT $1`
	last := `SELECT max(` + pos + `) FROM ` + table + ` WHERE NOT ` + published
	if !s.Flagged {
		cur := snapshot.Cursor{S0: snapshot.Beginning}
		if position != "" {
			if cur, err = snapshot.ParseCursor(position); err != nil {
				return p, err
			}
		}
		// What the oldest span has already got behind it is skipped, so this may be slow: the caller's patience bounds it.
		query = `SELECT created_at AS at, pos FROM (
				SELECT created_at, pos, topic, xid AS x FROM ` + table + ` WHERE xid >= ` + arg(strconv.FormatUint(cur.S0.Xmax, 10)) + `::text::xid8
				UNION ALL SELECT created_at, pos, topic, xid FROM ` + table + ` WHERE xid = ANY (` + arg(xids(cur.S0.Xip)) + `::text::xid8[])) AS w
			WHERE (pos > ` + arg(cur.Last) + ` OR NOT pg_visible_in_snapshot(x, ` + arg(cur.Newest().String()) + `::text::pg_snapshot))` + whose + ` LIMIT $1`
		last = `SELECT max(pos) FROM ` + table
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
