package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/waybillhq/waybill/relay"
)

// Guard is one more condition on a save: SQL is and-ed to the condition of the statement that changes the cursor row.
// Its first placeholder is $5.
type Guard struct {
	SQL  string
	Args []any
}

// ErrGuard is returned by SaveOn when the epoch is the newest but the guard does not hold. Nothing is saved then.
var ErrGuard = errors.New("waybill: WB1303 the save's guard does not hold")

// Save implements relay.Store.
func (s *Store) Save(ctx context.Context, lease relay.Lease, save relay.Save) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return wrap("save", lease.Relay, err)
	}
	defer conn.Close()
	return s.SaveOn(ctx, conn, lease, save, Guard{})
}

// SaveOn is Save on the caller's connection and under a guard.
func (s *Store) SaveOn(ctx context.Context, conn *sql.Conn, lease relay.Lease, save relay.Save, guard Guard) error {
	marks := s.Mark != nil && len(save.Published) > 0
	run := s.d.statement // one round trip
	if marks || len(save.Branches)+len(save.Merged)+len(save.Park)+len(save.Retried)+len(save.Unpark) > 0 {
		run = s.d.transaction
	}
	err := run(ctx, conn, save.Durable, func(q Querier) error {
		// First, because it locks the cursor row: whoever comes later sees all of this save or is seen by it.
		if err := s.moveCursor(ctx, q, lease, save, guard); err != nil {
			return err
		}
		if err := s.moveBranches(ctx, q, lease, save); err != nil {
			return err
		}
		if err := s.setAside(ctx, q, lease.Relay, save); err != nil || !marks {
			return err
		}
		return s.Mark(ctx, q, save.Published)
	})
	return wrap("save", lease.Relay, err)
}

// moveBranches needs no guard of its own: the relay's row is locked, and a takeover waits for that one first.
func (s *Store) moveBranches(ctx context.Context, q Querier, lease relay.Lease, save relay.Save) error {
	for _, b := range save.Branches {
		if b.Topic == "" { // that is the row of the relay itself
			return errors.New("a branch without a topic")
		}
		if _, err := q.ExecContext(ctx, s.q.saveBranch, lease.Relay, b.Topic, lease.Epoch, string(b.Position), printable(b.Error)); err != nil {
			return err
		}
	}
	for _, topic := range save.Merged {
		if _, err := q.ExecContext(ctx, s.q.merged, lease.Relay, topic); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) moveCursor(ctx context.Context, q Querier, lease relay.Lease, save relay.Save, guard Guard) error {
	query := s.q.saveCursor
	if guard.SQL != "" {
		query += " AND (" + guard.SQL + ")"
	}
	args := append([]any{lease.Relay, lease.Epoch, string(save.Position), sync(save.Durable)}, guard.Args...)
	n, err := affected(q.ExecContext(ctx, query, args...))
	if err != nil || n == 1 {
		return err
	}
	var epoch int64
	err = q.QueryRowContext(ctx, s.q.epoch, lease.Relay).Scan(&epoch)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && epoch != lease.Epoch:
		return relay.ErrLost
	case err == nil:
		return ErrGuard
	}
	return err
}
