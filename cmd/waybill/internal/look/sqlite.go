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
	bytes:   `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`,
}

func pendingSQLite(ctx context.Context, db *sql.DB, s Source, position string) (p pending, err error) {
	table, published, created, pos, err := s.names(dialect.SQLite)
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
	err = db.QueryRowContext(ctx, `SELECT count(*), unixepoch('subsec') - min(at) / 1e6, CASE WHEN count(*) >= ?1 THEN (SELECT max(`+pos+`) FROM `+table+` WHERE `+where+`) - min(pos) + 1 END
		FROM (SELECT `+created+` AS at, `+pos+` AS pos FROM `+table+` WHERE `+where+` ORDER BY `+pos+` LIMIT ?1)`, Most, after).Scan(&p.n, &p.oldest, &p.span)
	return p, err
}
