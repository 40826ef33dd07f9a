package dialect

import (
	"crypto/sha256"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Postgres is PostgreSQL 13 or newer.
var Postgres = postgres{}

var _ Dialect = Postgres

type postgres struct{}

func (postgres) Name() string { return "postgres" }

func (postgres) Quote(name string) (string, error) { return quote(name, "waybill.outbox") }

// KeyLockClass is the first number of the advisory locks on keys; the second is the bucket, the first byte of the key's
// SHA-256. A producer in another language takes the same lock.
const KeyLockClass = 1466005858

// Insert: arrays travel as text, so any driver can pass them, and all payloads as one bytea, so none is re-coded.
// pos is drawn above the sort (an identity column is filled outside the ordered subquery), so it follows the order of rows.
func (postgres) Insert(table string, keyLock bool) string {
	lock, locked := "", ""
	if keyLock {
		// The rows wait for the one row of this query, so no pos is drawn before every lock is held.
		lock = `WITH lock AS MATERIALIZED (SELECT count(l::text) AS n FROM (SELECT pg_advisory_xact_lock(` +
			strconv.Itoa(KeyLockClass) + `, b) AS l FROM unnest($11::int[]) AS b ORDER BY b) AS taken) `
		locked = ` CROSS JOIN lock WHERE lock.n >= 0`
	}
	return lock + `INSERT INTO ` + table + ` (id, topic, key, type, payload, content_type, headers, time) ` +
		`SELECT m.id, m.topic, m.key, m.type, CASE WHEN m.size >= 0 THEN substring($8::bytea FROM m.start FOR m.size) END, ` +
		`m.content_type, m.headers, m.time ` +
		`FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $9::int[], $10::int[]) ` +
		`WITH ORDINALITY AS m(id, topic, key, type, content_type, headers, time, start, size, n)` + locked + ` ORDER BY m.n`
}

func (postgres) Args(rows []Row, keyLock bool) []any {
	var id, topic, key, typ, contentType, headers, times, start, size array
	total := 0
	for _, r := range rows {
		total += len(r.Payload)
	}
	payload := make([]byte, 0, total)
	for _, r := range rows {
		id.text(r.ID)
		topic.text(r.Topic)
		key.text(r.Key)
		typ.text(r.Type)
		contentType.text(r.ContentType)
		if r.Headers == "" {
			headers.raw("NULL")
		} else {
			headers.text(r.Headers)
		}
		if r.Time.IsZero() {
			times.raw("NULL")
		} else {
			times.raw(r.Time.UTC().Format(`"2006-01-02 15:04:05.000000+00"`))
		}
		start.raw(strconv.Itoa(len(payload) + 1))
		if r.Payload == nil {
			size.raw("-1")
		} else {
			size.raw(strconv.Itoa(len(r.Payload)))
		}
		payload = append(payload, r.Payload...)
	}
	args := []any{id.end(), topic.end(), key.end(), typ.end(), contentType.end(), headers.end(), times.end(), payload, start.end(), size.end()}
	if keyLock {
		args = append(args, buckets(rows))
	}
	return args
}

// buckets returns the sorted buckets of the rows' keys. There are 256: one lock a key would exhaust the server's lock
// table and fail the caller's transaction.
func buckets(rows []Row) string {
	var used []int
	for _, r := range rows {
		if r.Key != "" {
			used = append(used, int(sha256.Sum256([]byte(r.Key))[0]))
		}
	}
	slices.Sort(used)
	var a array
	for _, b := range slices.Compact(used) {
		a.raw(strconv.Itoa(b))
	}
	return a.end()
}

// array builds an array literal (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO).
type array struct{ buf []byte }

func (a *array) raw(element string) {
	a.buf = append(append(a.buf, ','), element...)
}

func (a *array) text(s string) {
	a.buf = append(a.buf, ',', '"')
	for {
		i := strings.IndexAny(s, `"\`)
		if i < 0 {
			break
		}
		a.buf = append(append(a.buf, s[:i]...), '\\', s[i])
		s = s[i+1:]
	}
	a.buf = append(append(a.buf, s...), '"')
}

func (a *array) end() string {
	if len(a.buf) == 0 {
		return "{}"
	}
	a.buf[0] = '{'
	return string(append(a.buf, '}'))
}

// Hint reads the SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html) by the method that pgx and lib/pq share.
func (postgres) Hint(err error) string {
	var state interface{ SQLState() string }
	if errors.Is(err, sql.ErrTxDone) {
		return "publish before Commit or Rollback"
	}
	if !errors.As(err, &state) {
		return ""
	}
	switch state.SQLState() {
	case "3F000", "42P01", "42703":
		return "waybill migrate up"
	case "42501":
		return "GRANT waybill_writer TO the user of this connection"
	case "25006":
		return "begin a read-write transaction on the primary"
	case "25P02":
		return "look for the earlier error that aborted this transaction"
	}
	return ""
}
