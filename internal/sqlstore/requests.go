package sqlstore

import (
	"context"
	"strings"
	"time"

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
		"{lock cursor}", "SELECT 1 FROM waybill.cursor WHERE relay = $1 AND branch = '' FOR UPDATE",
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
		"{lock cursor}", "SELECT ?1", // one writer at a time
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

// requestsAtOnce is how many rows one statement changes: bodies may be large, and time is looked at between two.
const requestsAtOnce = 100

// requested is a request that can be done.
type requested struct {
	pos     int64
	id      string
	discard bool
}

// doRequests does what people have asked of the relay's messages, for about so long. It belongs between two tenures, when nothing
// of the relay is in flight and its cursors stand: the caller's transaction has locked their rows.
func (s *Store) doRequests(ctx context.Context, tx Querier, name string, patience time.Duration) error {
	began := time.Now()
	todo, err := s.requested(ctx, tx, name)
	if err != nil {
		return err
	}
	for len(todo) > 0 {
		n := min(len(todo), requestsAtOnce)
		if err := s.do(ctx, tx, name, todo[:n]); err != nil {
			return err
		}
		if todo = todo[n:]; time.Since(began) >= patience {
			break
		}
	}
	return nil // a renewal looks for what is left, but for what waits for a branch, which may take a day
}

func (s *Store) requested(ctx context.Context, tx Querier, name string) (todo []requested, err error) {
	rows, err := tx.QueryContext(ctx, s.requestSQL(`SELECT pos, id, request FROM {t}parked AS p WHERE {ready} ORDER BY pos`), name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r requested
		var request string
		if err := rows.Scan(&r.pos, &r.id, &request); err != nil {
			return nil, err
		}
		r.discard = request == Discard
		todo = append(todo, r)
	}
	return todo, rows.Err()
}

// do executes requests. Their rows are named one by one: by the index of all requests each statement would go over all.
func (s *Store) do(ctx context.Context, tx Querier, name string, todo []requested) error {
	var all, kept, gone []int64
	var discarded []*relay.Message
	for _, r := range todo {
		if all = append(all, r.pos); !r.discard {
			kept = append(kept, r.pos)
			continue
		}
		m := &relay.Message{Pos: r.pos}
		m.ID = r.id
		gone, discarded = append(gone, r.pos), append(discarded, m)
	}
	if len(discarded) > 0 && s.Mark != nil { // or it would be read again
		if err := s.Mark(ctx, tx, discarded); err != nil {
			return err
		}
	}
	for _, change := range []struct {
		template  string
		positions []int64
	}{
		{`INSERT INTO {t}audit (who, action, relay, pos, id, before) SELECT coalesce(requested_by, ''), request, relay, pos, id, ` +
			`CASE WHEN request = 'retry' THEN {json}{tried}{/json} ELSE {before} END FROM {t}parked WHERE relay = $1 AND {among} ORDER BY pos`, all},
		{`DELETE FROM {t}parked WHERE relay = $1 AND {among}`, gone},
		{`UPDATE {t}parked SET state = 'held', request = NULL, requested_by = NULL, edit = NULL, ` +
			`topic = coalesce({get:topic:}, topic), type = coalesce({get:type:}, type), content_type = coalesce({get:content_type:}, content_type), ` +
			`headers = CASE WHEN {has:headers:} IS NULL THEN headers ELSE nullif({get:headers:}, '') END, ` +
			`payload = CASE WHEN {has:payload:} IS NULL THEN payload WHEN {null:payload:null} THEN NULL ELSE {unhex} END ` +
			`WHERE relay = $1 AND {among}`, kept},
	} {
		if len(change.positions) == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, s.requestSQL(change.template), name, s.d.list(change.positions)); err != nil {
			return err
		}
	}
	return nil
}
