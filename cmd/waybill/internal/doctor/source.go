package doctor

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
)

// Source is a database to look at.
type Source struct {
	DB         *sql.DB
	Dialect    dialect.Dialect
	Flagged    bool          // the table has a column is_published
	Table      string        // quoted, as the columns
	Pos, Topic string        // columns; no Topic where every message has FixedTopic
	FixedTopic string        // of every message
	Retention  time.Duration // 0 is never
	Relays     []Relay       // those that read it
}

// Relay is a relay of the configuration.
type Relay struct {
	Name   string
	Topics []string
}

func (s Source) postgres() bool { return s.Dialect.Name() == dialect.Postgres.Name() }

func (s Source) own(table string) string {
	if s.postgres() {
		return "waybill." + table
	}
	return "waybill_" + table
}

// looked bounds the rows at either end of the outbox whose topics are looked at.
const looked = 10_000

// Topics returns the topics at both ends of the outbox and those that wait aside, sorted. It never reads a whole table.
func (s Source) Topics(ctx context.Context) (topics []string, err error) {
	if s.Topic == "" {
		return []string{s.FixedTopic}, nil
	}
	query := ""
	for _, order := range []string{"ASC", "DESC"} {
		query += fmt.Sprintf("SELECT topic FROM (SELECT %s AS topic FROM %s ORDER BY %s %s LIMIT %d) AS t%s UNION ", s.Topic, s.Table, s.Pos, order, looked, order)
	}
	query += fmt.Sprintf("SELECT topic FROM (SELECT topic FROM %s LIMIT %d) AS p UNION SELECT branch FROM %s WHERE branch <> '' ORDER BY 1", s.own("parked"), looked, s.own("cursor"))
	return column[string](ctx, s.DB, query)
}

func column[T any](ctx context.Context, db *sql.DB, query string, args ...any) (list []T, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// Untaken compares topics with what the relays take.
func (s Source) Untaken(topics []string) (fine string, found []Result) {
	if len(s.Relays) == 0 {
		return "", []Result{{Level: Warn, Code: "WB4702", Text: "no relay reads this source: nothing in it is published", Try: "a relay with this source in the configuration"}}
	}
	var untaken []string
	for _, topic := range topics {
		if !slices.ContainsFunc(s.Relays, func(r Relay) bool { return relay.TopicMatcher(r.Topics)(topic) }) {
			untaken = append(untaken, topic)
		}
	}
	if len(untaken) > 0 {
		r := Result{Level: Warn, Code: "WB4702", Text: "no relay takes these topics of the outbox, so their messages are never published: " + quoted(untaken),
			Try: "a pattern for them in relays.<name>.topics, or a relay without topics"}
		if s.Retention > 0 {
			r.Level = Refuse
			r.Text += "; retention deletes them all the same"
		}
		return "", []Result{r}
	}
	return fmt.Sprintf("a relay takes each topic at both ends of the outbox; there are %d", len(topics)), nil
}

// aheadAt is how far two clocks may be apart before somebody is misled.
const aheadAt = 2 * time.Second

// Clock compares the database's clock with this machine's.
func (s Source) Clock(ctx context.Context) (fine string, found []Result, err error) {
	var theirs float64
	began := time.Now()
	if err := s.DB.QueryRowContext(ctx, `SELECT extract(epoch FROM clock_timestamp())::float8`).Scan(&theirs); err != nil {
		return "", nil, err
	}
	trip := time.Since(began)
	apart := time.Duration(theirs*float64(time.Second)) - time.Duration(began.Add(trip/2).UnixNano())
	text := fmt.Sprintf("the database's clock and this machine's are %v apart, measured to %v", apart.Abs().Round(time.Millisecond), trip.Round(time.Millisecond))
	if apart.Abs() > aheadAt+trip {
		return "", []Result{{Level: Warn, Code: "WB4706", Text: text + ": times of messages, delays and retention go by the database's clock, what you compare them with may go by the other. Leases do not depend on it",
			Try: "time synchronisation on both machines"}}, nil
	}
	return text, nil, nil
}

// Retained looks at what keeps old messages from being deleted.
func (s Source) Retained(ctx context.Context) (fine string, found []Result, err error) {
	if s.Retention == 0 {
		return "retention.age is not set: nothing is ever deleted", nil, nil
	}
	known := func(name string) bool {
		return slices.ContainsFunc(s.Relays, func(r Relay) bool { return r.Name == name })
	}
	cursors, err := column[string](ctx, s.DB, "SELECT DISTINCT relay FROM "+s.own("cursor")+" ORDER BY 1")
	if err != nil {
		return "", nil, err
	}
	cursors = slices.DeleteFunc(cursors, known)
	if len(cursors) > 0 && !s.Flagged {
		found = append(found, Result{Level: Warn, Code: "WB4707", Text: "cursors of relays that this configuration does not have hold back what retention may delete: " + quoted(cursors),
			Try: "remove the cursors of those that are gone for good, see docs/operations.md; leave those that another process runs"})
	}
	return fmt.Sprintf("messages older than %v are deleted once every relay has published them", s.Retention), found, nil
}
