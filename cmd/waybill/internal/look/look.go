// Package look reads from a source's database what waybill status shows. It never counts without a bound, and what cannot
// be told cheaply is nil: unknown.
package look

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/waybillhq/waybill/dialect"
)

// Most bounds every count: a count of Most means that many or more.
const Most = 10_000

// patience bounds the one query that may have to skip over much.
const patience = 2 * time.Second

// Relay is how a relay stands, as its source's database knows it.
type Relay struct {
	Known    bool // it has run at least once
	Owner    string
	Lease    time.Duration // until the lease runs out; not above 0 when nobody owns the relay
	SavedAgo time.Duration // since the cursor was saved
	Held     int           // messages that are tried again by themselves
	Parked   int           // messages that wait for a person
	Why      string        // the reason of the last of them that has one of its own
	WhyID    string        // which message that is
	WhyTopic string
	Pending  *int // messages that are committed and not behind the cursor
	Oldest   *time.Duration
	// Estimate is Pending, or when that stopped at Most the distance between the ends, which counts gaps and published rows too.
	Estimate *int
	Topics   []string // patterns of its topics; none is every topic
	Branches []Branch
	// TooMany tells that nobody runs it and that so many keys are held that a relay stops by itself.
	TooMany bool
}

// Branch is a topic that waits.
type Branch struct {
	Topic   string
	Since   time.Duration
	Error   string
	Pending *int // messages of the topic that are committed and not behind the branch's cursor

	position string
}

// MaxHeld is how many keys a relay of the command holds before it stops.
const MaxHeld = 10_000

// Source says where a relay's messages are.
type Source struct {
	Table     string   // Defaults to the outbox of the mode
	Flagged   bool     // the table has a column is_published
	FromNow   bool     // a relay that never ran will skip what is there
	Published string   // the column, when Flagged. Defaults to is_published
	Created   string   // the column with the time of the row; "-" is none. Defaults to created_at
	Pos       string   // the column that gives the order. Defaults to pos
	Topic     string   // the column with the topic, when Flagged; "-" is none. Defaults to topic
	Topics    []string // of a relay that never ran
}

// part is which messages are counted: those of one topic, or those that fit the patterns and are of none of the branches.
type part struct {
	topic    string
	patterns []string
	branches []string
}

// statements differ between databases. Ages are seconds.
type statements struct {
	head, aside, why, branches, lanes string
	pending                           func(ctx context.Context, db *sql.DB, s Source, position string, of part) (p pending, err error)
	// bytes takes the table's name in place of {table}.
	bytes string
}

type pending struct {
	n      int
	oldest sql.NullFloat64
	span   sql.NullInt64 // when n is Most: how far the last row is from the first
}

// TableBytes is the size of the outbox with its indexes; on SQLite that of the whole file.
func TableBytes(ctx context.Context, db *sql.DB, d dialect.Dialect, s Source) (bytes int64, err error) {
	table, _, _, _, _, err := s.names(d)
	if err == nil {
		err = db.QueryRowContext(ctx, strings.ReplaceAll(queries(d).bytes, "{table}", strings.ReplaceAll(table, "'", "''"))).Scan(&bytes)
	}
	return bytes, err
}

func queries(d dialect.Dialect) statements {
	if d.Name() == dialect.SQLite.Name() {
		return sqlite
	}
	return postgres
}

// Look reads how the relay of that name stands.
func Look(ctx context.Context, db *sql.DB, d dialect.Dialect, s Source, relay string) (r Relay, err error) {
	q := queries(d)
	var lease, saved float64
	var position, topics string
	r.Topics = s.Topics
	err = db.QueryRowContext(ctx, q.head, relay).Scan(&r.Owner, &lease, &position, &saved, &topics)
	switch {
	case errors.Is(err, sql.ErrNoRows) && s.FromNow:
		return r, nil
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return r, err
	default:
		r.Known, r.Lease, r.SavedAgo = true, seconds(lease), seconds(saved)
		if err := json.Unmarshal([]byte(topics), &r.Topics); err != nil {
			return r, err
		}
		if err := r.aside(ctx, db, q, relay); err != nil {
			return r, err
		}
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	unknown := func() bool { return within.Err() != nil && ctx.Err() == nil }
	own := part{patterns: r.Topics}
	for _, b := range r.Branches {
		own.branches = append(own.branches, b.Topic)
	}
	p, err := q.pending(within, db, s, position, own)
	if unknown() {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	estimate := max(p.n, int(p.span.Int64))
	r.Pending, r.Estimate = &p.n, &estimate
	if p.oldest.Valid {
		age := seconds(max(p.oldest.Float64, 0))
		r.Oldest = &age
	}
	for i := range r.Branches {
		b := &r.Branches[i]
		p, err := q.pending(within, db, s, b.position, part{topic: b.Topic})
		if unknown() {
			return r, nil
		}
		if err != nil {
			return r, err
		}
		b.Pending = &p.n
	}
	return r, nil
}

// aside reads what the relay has set aside: messages and topics.
func (r *Relay) aside(ctx context.Context, db *sql.DB, q statements, relay string) error {
	var all int
	if err := db.QueryRowContext(ctx, q.aside, relay, Most).Scan(&r.Held, &r.Parked, &all); err != nil {
		return err
	}
	if all > 0 {
		if err := db.QueryRowContext(ctx, q.why, relay).Scan(&r.WhyID, &r.WhyTopic, &r.Why); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	if all >= Most && r.Lease <= 0 {
		var lanes int
		if err := db.QueryRowContext(ctx, q.lanes, relay, MaxHeld+1).Scan(&lanes); err != nil {
			return err
		}
		r.TooMany = lanes > MaxHeld
	}
	rows, err := db.QueryContext(ctx, q.branches, relay)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var b Branch
		var since float64
		if err := rows.Scan(&b.Topic, &since, &b.Error, &b.position); err != nil {
			return err
		}
		b.Since = seconds(since)
		r.Branches = append(r.Branches, b)
	}
	return rows.Err()
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// names fills in the defaults and quotes. No name is a column that is not there.
func (s Source) names(d dialect.Dialect) (table, published, created, pos, topic string, err error) {
	or := func(name, standard string) string {
		if name == "" {
			return standard
		}
		return name
	}
	own := map[string]string{"postgres": "waybill.outbox", "sqlite": "waybill_outbox"}[d.Name()]
	if s.Flagged {
		own += "_flagged"
	}
	quote := func(name string) (quoted string) {
		if err == nil {
			quoted, err = d.Quote(name)
		}
		return quoted
	}
	table, published, pos = quote(or(s.Table, own)), quote(or(s.Published, "is_published")), quote(or(s.Pos, "pos"))
	if s.Created != "-" {
		created = quote(or(s.Created, "created_at"))
	}
	if s.Topic != "-" {
		topic = quote(or(s.Topic, "topic"))
	}
	return table, published, created, pos, topic, err
}
