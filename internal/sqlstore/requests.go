package sqlstore

import (
	"context"
	"strings"

	"github.com/waybillhq/waybill/relay"
)

// What a person may ask of a message set aside.
const (
	Retry   = "retry"   // it is held: tried at once, and later messages of its key wait behind it
	Edit    = "edit"    // it changes, then as Retry
	Discard = "discard" // its row goes; it is never published
)

// requestWords are what the statements about requests need of a database besides its own words: {passed} tells whether
// cursor row c has passed outbox row o; {json} and {/json} enclose the members of an object; {hex} is the body as text, {unhex} that of
// an edit as bytes; {get:X:}, {has:X:} and {null:X:null} are a member of an edit, whether it is there, and whether it is null;
// {was:X:} is a member of what audit keeps, {age} and {ago} are the seconds since a row of parked and of audit was made.
var requestWords = map[*database][]string{
	postgres: {
		"{passed}", "CASE WHEN c.position LIKE 'flagged%' THEN true ELSE " +
			"pg_visible_in_snapshot(o.xid, nullif(split_part(c.position, ' ', 1), '')::pg_snapshot) OR " +
			"o.pos <= nullif(split_part(c.position, ' ', 2), '')::bigint AND pg_visible_in_snapshot(o.xid, nullif(split_part(c.position, ' ', 3), '')::pg_snapshot) END",
		"{json}", "json_build_object(", "{/json}", ")::text",
		"{hex}", "encode(payload, 'hex')",
		"{unhex}", "decode(edit::json ->> 'payload', 'hex')",
		"{has:", "(edit::json -> '", "{get:", "(edit::json ->> '", ":}", "')",
		"{null:", "json_typeof(edit::json -> '", ":null}", "') = 'null'",
		"{age}", "extract(epoch FROM clock_timestamp() - parked_at)::float8",
		"{ago}", "extract(epoch FROM clock_timestamp() - at)::float8",
		"{was:", "(before::json ->> '",
		"{true}", "true",
	},
	sqlite: {
		"{passed}", "CASE WHEN c.position LIKE 'flagged%' THEN true ELSE o.pos <= CAST(c.position AS INTEGER) END",
		"{json}", "json_object(", "{/json}", ")",
		"{hex}", "CASE WHEN payload IS NOT NULL THEN lower(hex(payload)) END",
		"{unhex}", "unhex(edit ->> '$.payload')",
		"{has:", "(edit -> '$.", "{get:", "(edit ->> '$.", ":}", "')",
		"{null:", "json_type(edit, '$.", ":null}", "') = 'null'",
		"{age}", "unixepoch('subsec') - parked_at / 1e6",
		"{ago}", "unixepoch('subsec') - at / 1e6",
		"{was:", "(before ->> '$.",
		"{true}", "1",
	},
}

// ready holds for a row p that is asked for and will not be read from the log again. One that the cursor has not passed, as
// after a crash, would come back from there: it waits.
const ready = `p.relay = $1 AND p.request IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {outbox} AS o JOIN {t}cursor AS c ON c.relay = p.relay ` +
	`AND c.branch = CASE WHEN EXISTS (SELECT 1 FROM {t}cursor AS b WHERE b.relay = p.relay AND b.branch = o.topic) THEN o.topic ELSE '' END ` +
	`WHERE o.pos = p.pos AND o.id = p.id AND ({passed}) IS NOT TRUE)`

const before = `{json}'topic', topic, 'key', "key", 'type', type, 'content_type', content_type, 'headers', headers, 'payload', {hex}, ` +
	`'lane', lane, 'incarnation', incarnation, 'time', time, {tried}{/json}`

// tried is all that is kept of a message that is retried: with it one can tell later whether it was tried since.
const tried = `'state', state, 'attempts', attempts, 'error', error`

func (s *Store) requestSQL(template string) string {
	table := s.Outbox
	if table == "" {
		table = s.d.sql("{t}outbox")
	}
	template = s.d.sql(strings.NewReplacer("{tried}", tried).Replace(strings.NewReplacer("{ready}", ready, "{before}", before).Replace(template)))
	return strings.NewReplacer(append([]string{"{outbox}", table}, requestWords[s.d]...)...).Replace(template)
}

// doRequests does what people have asked of the relay's messages. It belongs between two tenures, when nothing of the relay is
// in flight and its cursors stand: the caller's transaction has locked their rows.
func (s *Store) doRequests(ctx context.Context, tx Querier, name string) error {
	var asked int
	if err := tx.QueryRowContext(ctx, s.d.sql(`SELECT count(*) FROM {t}parked WHERE relay = $1 AND request IS NOT NULL`), name).Scan(&asked); err != nil {
		return err
	}
	if asked > 0 {
		if err := s.markDiscarded(ctx, tx, name); err != nil {
			return err
		}
		for _, template := range []string{
			`INSERT INTO {t}audit (who, action, relay, pos, id, before) SELECT coalesce(requested_by, ''), request, relay, pos, id, ` +
				`CASE WHEN request = 'retry' THEN {json}{tried}{/json} ELSE {before} END FROM {t}parked AS p WHERE {ready} ORDER BY pos`,
			`DELETE FROM {t}parked AS p WHERE request = 'discard' AND {ready}`,
			`UPDATE {t}parked AS p SET state = 'held', request = NULL, requested_by = NULL, edit = NULL, ` +
				`topic = coalesce({get:topic:}, topic), type = coalesce({get:type:}, type), content_type = coalesce({get:content_type:}, content_type), ` +
				`headers = CASE WHEN {has:headers:} IS NULL THEN headers ELSE nullif({get:headers:}, '') END, ` +
				`payload = CASE WHEN {has:payload:} IS NULL THEN payload WHEN {null:payload:null} THEN NULL ELSE {unhex} END ` +
				`WHERE request IN ('retry', 'edit') AND {ready}`,
		} {
			if _, err := tx.ExecContext(ctx, s.requestSQL(template), name); err != nil {
				return err
			}
		}
	}
	// What waits for the relay's own cursor is asked again at the next renewal; what waits for a branch is not, which may take a day.
	_, err := tx.ExecContext(ctx, s.requestSQL(`UPDATE {t}lease SET asked = EXISTS (SELECT 1 FROM {t}parked AS p WHERE p.relay = $1 AND p.request IS NOT NULL `+
		`AND NOT EXISTS (SELECT 1 FROM {t}cursor AS b WHERE b.relay = p.relay AND b.branch = p.topic AND b.branch <> '')) WHERE relay = $1`), name)
	return err
}

// markDiscarded keeps a store that marks rows from reading again what is discarded.
func (s *Store) markDiscarded(ctx context.Context, tx Querier, name string) error {
	if s.Mark == nil {
		return nil
	}
	rows, err := tx.QueryContext(ctx, s.requestSQL(`SELECT pos, id FROM {t}parked AS p WHERE request = 'discard' AND {ready} ORDER BY pos`), name)
	if err != nil {
		return err
	}
	defer rows.Close()
	var gone []*relay.Message
	for rows.Next() {
		m := &relay.Message{}
		if err := rows.Scan(&m.Pos, &m.ID); err != nil {
			return err
		}
		gone = append(gone, m)
	}
	if err := rows.Err(); err != nil || len(gone) == 0 {
		return err
	}
	rows.Close()
	return s.Mark(ctx, tx, gone)
}
