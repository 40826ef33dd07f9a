package look

import (
	"context"
	"database/sql"
	"encoding/json"
	"strconv"

	"github.com/waybillhq/waybill/dialect"
)

var sqlite = statements{
	head: `SELECT coalesce(l.owner, ''), coalesce(l.expires_at / 1e6 - unixepoch('subsec'), 0), c.position, unixepoch('subsec') - c.saved_at / 1e6, coalesce(c.topics, '[]')
		FROM waybill_cursor AS c LEFT JOIN waybill_lease AS l ON l.relay = c.relay WHERE c.relay = ?1 AND c.branch = ''`,
	aside: `SELECT count(*) FILTER (WHERE state = 'held'), count(*) FILTER (WHERE state = 'parked'), count(*)
		FROM (SELECT state FROM waybill_parked WHERE relay = ?1 LIMIT ?2)`,
	why:   `SELECT id, topic, error FROM waybill_parked WHERE relay = ?1 AND error <> '' ORDER BY pos DESC LIMIT 1`,
	lanes: `SELECT count(*) FROM (SELECT DISTINCT lane FROM waybill_parked WHERE relay = ?1 AND state = 'held' LIMIT ?2)`,
	branches: `SELECT branch, coalesce(unixepoch('subsec') - since / 1e6, 0), error, position
		FROM waybill_cursor WHERE relay = ?1 AND branch <> '' ORDER BY branch`,
	pending: pendingSQLite,
	bytes:   `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`,
}

func pendingSQLite(ctx context.Context, db *sql.DB, s Source, position string, of part) (p pending, err error) {
	table, published, created, pos, topic, err := s.names(dialect.SQLite)
	if err != nil {
		return p, err
	}
	if created == "" {
		created = "NULL"
	}
	var after int64
	if position != "" && !s.Flagged {
		if after, err = strconv.ParseInt(position, 10, 64); err != nil {
			return p, err
		}
	}
	where := pos + ` > ?2`
	if s.Flagged {
		where = `NOT ` + published + ` AND ?2 = 0`
	}
	args := []any{Most, after}
	list := func(texts []string) string {
		text, _ := json.Marshal(texts) // texts always encode
		args = append(args, string(text))
		return "json_each(?" + strconv.Itoa(len(args)) + ")"
	}
	if topic != "" && of.topic != "" {
		where += ` AND ` + topic + ` IN (SELECT value FROM ` + list([]string{of.topic}) + `)`
	}
	if topic != "" && len(of.patterns) > 0 {
		where += ` AND EXISTS (SELECT 1 FROM ` + list(of.patterns) + ` WHERE ` + topic + ` GLOB replace(replace(value, '[', '[[]'), '?', '[?]'))`
	}
	if topic != "" && len(of.branches) > 0 {
		where += ` AND ` + topic + ` NOT IN (SELECT value FROM ` + list(of.branches) + `)`
	}
	err = db.QueryRowContext(ctx, `SELECT count(*), unixepoch('subsec') - min(at) / 1e6, CASE WHEN count(*) >= ?1 THEN (SELECT max(`+pos+`) FROM `+table+` WHERE `+where+`) - min(pos) + 1 END
		FROM (SELECT `+created+` AS at, `+pos+` AS pos FROM `+table+` WHERE `+where+` ORDER BY `+pos+` LIMIT ?1)`, args...).Scan(&p.n, &p.oldest, &p.span)
	return p, err
}
