package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/waybillhq/waybill/relay"
)

// parkAtOnce bounds the rows of one INSERT, and with them the number of different statements that a driver remembers.
const parkAtOnce = 50

func (s *Store) setAside(ctx context.Context, q Querier, name string, save relay.Save) error {
	for rest := save.Park; len(rest) > 0; {
		n := min(len(rest), parkAtOnce)
		var args []any
		for _, p := range rest[:n] {
			args = append(args, name, p.Pos, p.Incarnation, p.Lane, p.State, p.Attempts, printable(p.Error),
				p.ID, p.Topic, p.Key, p.Type, payload(p.Payload), p.ContentType, storedHeaders(p.Headers), s.time(p.Message))
		}
		query := s.q.park + s.d.tuples(n, len(args)/n) + " ON CONFLICT (relay, pos) DO NOTHING"
		inserted, err := affected(q.ExecContext(ctx, query, args...))
		if err == nil && inserted < int64(n) {
			err = s.sameMessages(ctx, q, name, rest[:n])
		}
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	for _, p := range save.Retried {
		if _, err := q.ExecContext(ctx, s.q.retried, name, p.Pos, p.Attempts, printable(p.Error)); err != nil {
			return err
		}
	}
	if len(save.Unpark) == 0 {
		return nil
	}
	gone := make([]int64, len(save.Unpark))
	for i, p := range save.Unpark {
		gone[i] = p.Pos
	}
	_, err := q.ExecContext(ctx, s.q.unpark, name, s.d.list(gone))
	return err
}

// sameMessages tells a message that is set aside already from another one with the same pos, which would be lost.
func (s *Store) sameMessages(ctx context.Context, q Querier, name string, park []relay.Parked) error {
	ids, list := map[int64]string{}, make([]int64, 0, len(park))
	for _, p := range park {
		ids[p.Pos] = p.ID
		list = append(list, p.Pos)
	}
	rows, err := q.QueryContext(ctx, s.q.parkedIDs, name, s.d.list(list))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var pos int64
		var id string
		if err := rows.Scan(&pos, &id); err != nil {
			return err
		}
		if ids[pos] != id {
			return relay.Fatal(fmt.Errorf("message %q cannot be set aside, because message %q with the same pos %d is: the numbers of the outbox began anew. "+
				"Try: decide about the messages set aside before that, delete their rows, then start the relay again", ids[pos], id, pos))
		}
	}
	return rows.Err()
}

// Held implements relay.Store.
func (s *Store) Held(ctx context.Context, lease relay.Lease, lane string, limit int) ([]relay.Parked, error) {
	rows, err := s.db.QueryContext(ctx, s.q.held, lease.Relay, lane, limit)
	if err != nil {
		return nil, wrap("read the held messages of", lease.Relay, err)
	}
	defer rows.Close()
	var held []relay.Parked
	for rows.Next() {
		var p relay.Parked
		if err := rows.Scan(&p.Pos, &p.Incarnation, &p.Lane, &p.State, &p.Attempts, &p.Error, &p.ID, &p.Topic, &p.Key, &p.Type,
			columnPayload{&p.Payload}, &p.ContentType, columnHeaders{&p.Headers}, columnTime{&p.Time}); err != nil {
			return nil, wrap("read the held messages of", lease.Relay, err)
		}
		held = append(held, p)
	}
	return held, wrap("read the held messages of", lease.Relay, rows.Err())
}

// time is NULL for a message without one.
func (s *Store) time(m relay.Message) any {
	if m.Time.IsZero() {
		return nil
	}
	return s.d.timestamp(m.Time.UnixMicro())
}

// payload keeps a tombstone apart from an empty body for every driver.
func payload(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// printable makes a broker's words fit a text column: a save must not fail for them.
func printable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
