package sqlstore

import (
	"strconv"
	"strings"
)

// statements is all SQL of the store, in one database's words.
type statements struct {
	firstLease, firstCursor, takeLease, raiseCursor, raiseBranches, cursors, heldLanes, holder string

	renew, release                string
	incarnation, firstIncarnation string
	saveCursor, epoch             string
	saveBranch, merged            string
	park, parkedIDs, retried      string
	unpark, held                  string
}

const parkedColumns = `pos, incarnation, lane, state, attempts, error, id, topic, "key", type, payload, content_type, headers, time`

func (d *database) statements() statements {
	return statements{
		firstLease:  d.sql(`INSERT INTO {t}lease (relay, owner, epoch, expires_at) VALUES ($1, '', 0, {past}) ON CONFLICT DO NOTHING`),
		firstCursor: d.sql(`INSERT INTO {t}cursor (relay, branch, epoch, position) VALUES ($1, '', 0, '') ON CONFLICT DO NOTHING`),
		// The lease row decides alone who comes first. The cursor's epoch counts for when people deleted the lease row.
		takeLease: d.sql(`UPDATE {t}lease SET owner = $2, expires_at = {now} + $3{us}, asked = FALSE, epoch = (SELECT max(n) FROM (` +
			`SELECT {t}lease.epoch + 1 AS n UNION ALL SELECT {ms} UNION ALL SELECT epoch + 1 FROM {t}cursor WHERE relay = $1) AS candidates) ` +
			`WHERE relay = $1 AND (owner = $2 OR expires_at <= {now}) RETURNING epoch`),
		raiseCursor:   d.sql(`UPDATE {t}cursor SET epoch = $2, topics = $3 WHERE relay = $1 AND branch = '' AND epoch < $2`),
		raiseBranches: d.sql(`UPDATE {t}cursor SET epoch = $2 WHERE relay = $1 AND branch <> ''`),
		cursors:       d.sql(`SELECT branch, position, error FROM {t}cursor WHERE relay = $1 ORDER BY branch`),
		heldLanes:     d.sql(`SELECT DISTINCT lane FROM {t}parked WHERE relay = $1 AND state = 'held' ORDER BY lane`),
		holder:        d.sql(`SELECT owner, {left} FROM {t}lease WHERE relay = $1`),

		renew: d.sql(`UPDATE {t}lease SET expires_at = {now} + $5{us} WHERE relay = $1 AND epoch = $2 AND owner = $3 AND {sync}$4{/sync} ` +
			// What was asked while a topic waited is done once it does no more.
			`RETURNING asked OR EXISTS (SELECT 1 FROM {t}parked AS p WHERE p.relay = $1 AND p.request IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {t}cursor AS c WHERE c.relay = $1 AND c.branch <> '' AND c.branch = p.topic))`),
		release: d.sql(`UPDATE {t}lease SET expires_at = {now} WHERE relay = $1 AND epoch = $2 AND owner = $3 AND {sync}$4{/sync}`),

		incarnation:      d.sql(`SELECT incarnation FROM {t}log WHERE name = 'outbox'`),
		firstIncarnation: d.sql(`INSERT INTO {t}log (name, incarnation) VALUES ('outbox', {ms}) ON CONFLICT DO NOTHING`),

		saveCursor: d.sql(`UPDATE {t}cursor SET position = coalesce(nullif($3, ''), position), saved_at = {now} ` +
			`WHERE relay = $1 AND branch = '' AND epoch = $2 AND {sync}$4{/sync}`),
		epoch: d.sql(`SELECT epoch FROM {t}cursor WHERE relay = $1 AND branch = ''`),

		saveBranch: d.sql(`INSERT INTO {t}cursor (relay, branch, epoch, position, error, since, saved_at) VALUES ($1, $2, $3, $4, $5, {now}, {now}) ` +
			`ON CONFLICT (relay, branch) DO UPDATE SET epoch = excluded.epoch, position = excluded.position, error = excluded.error, saved_at = excluded.saved_at`),
		merged: d.sql(`DELETE FROM {t}cursor WHERE relay = $1 AND branch = $2`),

		park:      d.sql(`INSERT INTO {t}parked (relay, ` + parkedColumns + `) VALUES `),
		parkedIDs: d.sql(`SELECT pos, id FROM {t}parked WHERE relay = $1 AND {among}`),
		retried:   d.sql(`UPDATE {t}parked SET attempts = $3, error = $4 WHERE relay = $1 AND pos = $2`),
		unpark:    d.sql(`DELETE FROM {t}parked WHERE relay = $1 AND {among}`),
		held: d.sql(`SELECT ` + parkedColumns + ` FROM {t}parked ` +
			`WHERE relay = $1 AND lane = $2 AND state = 'held' ORDER BY pos LIMIT $3`),
	}
}

// tuples returns rows × columns placeholders in parentheses, such as ($1,$2),($3,$4).
func (d *database) tuples(rows, columns int) string {
	var b strings.Builder
	for n := range rows * columns {
		switch {
		case n == 0:
			b.WriteByte('(')
		case n%columns == 0:
			b.WriteString("),(")
		default:
			b.WriteByte(',')
		}
		b.WriteString(d.mark + strconv.Itoa(n+1))
	}
	b.WriteByte(')')
	return b.String()
}
