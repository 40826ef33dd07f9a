package look

import (
	"context"
	"database/sql"
	"strconv"

	"github.com/waybillhq/waybill/dialect"
)

var sqlite = statements{
	head: `SELECT coalesce(l.owner, ''), coalesce(l.expires_at / 1e6 - unixepoch('subsec'), 0), c.position, unixepoch('subsec') - c.saved_at / 1e6
		FROM waybill_cursor AS c LEFT JOIN waybill_lease AS l ON l.relay = c.relay WHERE c.relay = ?1 AND c.branch = ''`,
	aside: `SELECT count(*) FILTER (WHERE state = 'held'), count(*) FILTER (WHERE state = 'parked'), count(*)
		FROM (SELECT state FROM waybill_parked WHERE relay = ?1 LIMIT ?2)`,
	why:     `SELECT id, topic, error FROM waybill_parked WHERE relay = ?1 AND error <> '' ORDER BY pos DESC LIMIT 1`,
	pending: pendingSQLite,
}

func pendingSQLite(ctx context.Context, db *sql.DB, s Source, position string) (n int, oldest sql.NullFloat64, err error) {
	table, published, created, pos, err := s.names(dialect.SQLite)
	if err != nil {
		return 0, oldest, err
	}
	if created == "" {
		created = "NULL"
	}
	var after int64
	if position != "" && !s.Flagged {
		if after, err = strconv.ParseInt(position, 10, 64); err != nil {
			return 0, oldest, err
		}
	}
	where := pos + ` > ?2`
	if s.Flagged {
		where = `NOT ` + published + ` AND ?2 = 0`
	}
	err = db.QueryRowContext(ctx, `SELECT count(*), unixepoch('subsec') - min(at) / 1e6
		FROM (SELECT `+created+` AS at FROM `+table+` WHERE `+where+` ORDER BY `+pos+` LIMIT ?1)`, Most, after).Scan(&n, &oldest)
	return n, oldest, err
}
