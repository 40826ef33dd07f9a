package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybillhq/waybill"
)

// Aside is a message set aside, as people see it: without its body and headers.
type Aside struct {
	Relay                             string
	Pos                               int64
	ID, Topic, Key, Type, ContentType string
	Lane, State                       string
	Attempts                          int
	Error                             string
	Request, RequestedBy              string
	Age                               time.Duration // since it was set aside
}

// Choice chooses messages set aside: those for which everything in it holds. The zero value chooses all.
type Choice struct {
	Relay, Topic, Key, State string
	Names                    []string // ids, or pos in digits
}

const asideColumns = `relay, pos, id, topic, "key", type, content_type, lane, state, attempts, error, coalesce(request, ''), coalesce(requested_by, ''), {age}`

func (a *Aside) columns() []any {
	return []any{&a.Relay, &a.Pos, &a.ID, &a.Topic, &a.Key, &a.Type, &a.ContentType, &a.Lane, &a.State, &a.Attempts, &a.Error, &a.Request, &a.RequestedBy, seconds{&a.Age}}
}

// EachAside calls each for the chosen messages, by relay and pos, at most most of them; 0 is all.
func (s *Store) EachAside(ctx context.Context, c Choice, most int, each func(Aside) error) error {
	query, args := s.requestSQL(`SELECT `+asideColumns+` FROM {t}parked`), []any{}
	var all []string
	arg := func(v any) string {
		args = append(args, v)
		return s.d.mark + strconv.Itoa(len(args))
	}
	for _, f := range []struct{ column, value string }{{"relay", c.Relay}, {"topic", c.Topic}, {`"key"`, c.Key}, {"state", c.State}} {
		if f.value != "" {
			all = append(all, f.column+" = "+arg(f.value))
		}
	}
	if len(c.Names) > 0 {
		var any []string
		for _, name := range c.Names {
			any = append(any, "id = "+arg(name))
			if pos, err := strconv.ParseInt(name, 10, 64); err == nil {
				any = append(any, "pos = "+arg(pos))
			}
		}
		all = append(all, "("+strings.Join(any, " OR ")+")")
	}
	if len(all) > 0 {
		query += " WHERE " + strings.Join(all, " AND ")
	}
	query += " ORDER BY relay, pos"
	if most > 0 {
		query += " LIMIT " + strconv.Itoa(most)
	}
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var a Aside
		if err := rows.Scan(a.columns()...); err != nil {
			return err
		}
		if err := each(a); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Whole is all of a message set aside.
type Whole struct {
	Aside
	Headers []waybill.Header
	Payload []byte
	Time    time.Time
	Edit    string // what was asked for, as [Edited] writes it
}

// WholeAside returns one message, or sql.ErrNoRows.
func (s *Store) WholeAside(ctx context.Context, name string, pos int64) (w Whole, err error) {
	err = s.db.QueryRowContext(ctx, s.requestSQL(`SELECT `+asideColumns+`, headers, payload, time, coalesce(edit, '') FROM {t}parked WHERE relay = $1 AND pos = $2`), name, pos).
		Scan(append(w.columns(), columnHeaders{&w.Headers}, columnPayload{&w.Payload}, columnTime{&w.Time}, &w.Edit)...)
	return w, err
}

// Behind counts the held messages that wait behind one in its lane, at most most.
func (s *Store) Behind(ctx context.Context, a Aside, most int) (n int, err error) {
	err = s.db.QueryRowContext(ctx, s.d.sql(`SELECT count(*) FROM (SELECT 1 FROM {t}parked WHERE relay = $1 AND lane = $2 AND pos > $3 AND state = 'held' LIMIT $4) AS part`),
		a.Relay, a.Lane, a.Pos, most).Scan(&n)
	return n, err
}

// Action is something that was done to a message.
type Action struct {
	N           int64
	Ago         time.Duration
	Who, Action string
	Relay       string
	Pos         int64
	ID          string
	Before      string // JSON object of the message as it was; of a retried one only what follows
	Attempts    int    // it had
	Error       string // it had
}

// History returns what was done to messages of a relay after the n-th action of all, oldest first; whole asks for Before.
func (s *Store) History(ctx context.Context, name string, positions []int64, after int64, whole bool) (list []Action, err error) {
	before := "''"
	if whole { // it may be large
		before = "coalesce(before, '')"
	}
	rows, err := s.db.QueryContext(ctx, s.requestSQL(`SELECT n, {ago}, who, action, relay, coalesce(pos, 0), id, `+before+
		`, CAST(coalesce({was:attempts:}, '0') AS integer), coalesce({was:error:}, '') FROM {t}audit WHERE relay = $1 AND {among} AND n > $3 ORDER BY n`), name, s.d.list(positions), after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var a Action
		if err := rows.Scan(&a.N, seconds{&a.Ago}, &a.Who, &a.Action, &a.Relay, &a.Pos, &a.ID, &a.Before, &a.Attempts, &a.Error); err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// LastAction returns the last thing that was done to messages with an id, or sql.ErrNoRows; without what it was before.
func (s *Store) LastAction(ctx context.Context, id string) (a Action, err error) {
	err = s.db.QueryRowContext(ctx, s.requestSQL(`SELECT n, {ago}, who, action, relay, coalesce(pos, 0), id FROM {t}audit WHERE id = $1 ORDER BY n DESC LIMIT 1`), id).
		Scan(&a.N, seconds{&a.Ago}, &a.Who, &a.Action, &a.Relay, &a.Pos, &a.ID)
	return a, err
}

// Asked is what Ask found.
type Asked struct {
	Owner string // who runs the relay and will do it; empty: nobody does
	After int64  // what is done because of it is an action with a greater n
}

// askAtOnce is how many rows are asked for in one transaction: the owner's renewals and saves wait for it.
const askAtOnce = 200

// Ask writes down what who wants of some messages of a relay, and tells the relay's owner. With Edit, edits are what changes, by
// pos, as [Edited] writes it. Messages that are no longer there are passed over, and one asked to change may be retried as well.
func (s *Store) Ask(ctx context.Context, name, who, request string, positions []int64, edits map[int64]string) (asked Asked, err error) {
	if err := s.db.QueryRowContext(ctx, s.d.sql(`SELECT coalesce(max(n), 0) FROM {t}audit`)).Scan(&asked.After); err != nil {
		return asked, err
	}
	for part := range slices.Chunk(positions, askAtOnce) {
		err := s.withConn(ctx, func(conn *sql.Conn) error {
			return s.d.transaction(ctx, conn, true, func(tx Querier) error {
				asked.Owner, err = s.askPart(ctx, tx, name, who, request, part, edits)
				return err
			})
		})
		if err != nil {
			return asked, err
		}
	}
	return asked, nil
}

func (s *Store) askPart(ctx context.Context, tx Querier, name, who, request string, positions []int64, edits map[int64]string) (owner string, err error) {
	// The lease first: it is the row that Acquire locks first, too, so no request changes while it is being done.
	// Then the cursor, which every save locks first: two that locked parked rows in other orders would wait for each other.
	for _, query := range []string{`UPDATE {t}lease SET asked = {true} WHERE relay = $1`, `{lock cursor}`} {
		if _, err := tx.ExecContext(ctx, s.requestSQL(query), name); err != nil {
			return "", err
		}
	}
	err = tx.QueryRowContext(ctx, s.d.sql(`SELECT owner FROM {t}lease WHERE relay = $1 AND expires_at > {now}`), name).Scan(&owner)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", err
	}
	if request != Edit {
		_, err = tx.ExecContext(ctx, s.d.sql(`UPDATE {t}parked SET requested_by = $3, edit = CASE WHEN $4 = 'retry' THEN edit END, `+
			`request = CASE WHEN $4 = 'retry' AND request = 'edit' THEN request ELSE $4 END WHERE relay = $1 AND {among}`), name, s.d.list(positions), who, request)
		return owner, err
	}
	for _, pos := range positions {
		if _, err := tx.ExecContext(ctx, s.d.sql(`UPDATE {t}parked SET requested_by = $3, request = 'edit', edit = $4 WHERE relay = $1 AND pos = $2`), name, pos, who, edits[pos]); err != nil {
			return "", err
		}
	}
	return owner, nil
}

// StillAside returns those of the messages that are still set aside, by pos.
func (s *Store) StillAside(ctx context.Context, name string, positions []int64) (map[int64]Aside, error) {
	rows, err := s.db.QueryContext(ctx, s.requestSQL(`SELECT `+asideColumns+` FROM {t}parked WHERE relay = $1 AND {among}`), name, s.d.list(positions))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[int64]Aside{}
	for rows.Next() {
		var a Aside
		if err := rows.Scan(a.columns()...); err != nil {
			return nil, err
		}
		found[a.Pos] = a
	}
	return found, rows.Err()
}

// seconds scans a number of seconds.
type seconds struct{ to *time.Duration }

func (s seconds) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*s.to = 0
	case float64:
		*s.to = time.Duration(v * float64(time.Second))
	case int64:
		*s.to = time.Duration(v) * time.Second
	default:
		return fmt.Errorf("a number of seconds is a %T", src)
	}
	return nil
}
