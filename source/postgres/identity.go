package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/relay"
)

// checkTable refuses what would lose messages or make each look walk the whole table.
func (s *Source) checkTable(ctx context.Context, conn *sql.Conn) error {
	var found, indexed bool
	var cache int64
	err := conn.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL, `+
		`EXISTS (SELECT FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indpred IS NULL `+
		`AND (SELECT string_agg(attname, ',' ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n) `+
		`JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum) = 'xid,pos'), `+
		`coalesce((SELECT seqcache FROM pg_sequence WHERE seqrelid = pg_get_serial_sequence($1, 'pos')::regclass), 0) `+
		`FROM (SELECT) AS one WHERE to_regclass($1) IS NOT NULL`, s.table).Scan(&found, &indexed, &cache)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("waybill: WB1003 the table %s does not exist. Try: waybill migrate up", s.table)
	case err != nil:
		return wrap("look at the outbox", err)
	case !indexed:
		return fmt.Errorf("waybill: WB1004 the table %s has no index on (xid, pos). Try: CREATE INDEX CONCURRENTLY ON %s (xid, pos)", s.table, s.table)
	case cache != 1:
		return relay.Fatal(fmt.Errorf("waybill: WB1005 the sequence of %s.pos has CACHE %d: sessions would draw numbers out of order, and keys would lose theirs. "+
			"Try: ALTER TABLE %s ALTER COLUMN pos SET CACHE 1", s.table, cache, s.table))
	}
	return nil
}

// identity is what a server says about the log.
type identity struct{ incarnation, timeline int64 }

// identify compares the server with the one that was read before. A promoted standby has another timeline: its cursor row is
// consistent with its own rows, but messages published from the lost tail may be gone, so the incarnation grows. Another
// system is another history: the numbers of its transactions mean nothing here.
func (s *Source) identify(ctx context.Context, conn *sql.Conn) (log identity, err error) {
	if _, err = s.Store.Incarnation(ctx); err != nil {
		return log, err
	}
	// Nothing is locked where nothing changed: a process that is frozen here would hold up every relay of the source.
	if log, known, err := s.look(ctx, conn, ""); known || err != nil {
		return log, err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return log, wrap("identify the server", err)
	}
	defer tx.Rollback()
	if _, err = tx.ExecContext(ctx, `SELECT set_config('idle_in_transaction_session_timeout', '5000', true)`); err != nil {
		return log, wrap("identify the server", err)
	}
	log, known, err := s.look(ctx, tx, " FOR UPDATE")
	if known || err != nil {
		return log, err
	}
	err = tx.QueryRowContext(ctx, `UPDATE waybill.log SET system_identifier = (SELECT system_identifier::text FROM pg_control_system()), timeline = $1, `+
		`incarnation = CASE WHEN system_identifier IS NULL THEN incarnation ELSE greatest($2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) END `+
		`WHERE name = 'outbox' RETURNING incarnation`, log.timeline, log.incarnation+1).Scan(&log.incarnation)
	if err == nil {
		err = tx.Commit()
	}
	return log, wrap("identify the server", err)
}

// look tells whether the server is the one that the log is known to come from.
func (s *Source) look(ctx context.Context, q sqlstore.Querier, lock string) (log identity, known bool, err error) {
	var system string
	var knownSystem sql.NullString
	var knownTimeline sql.NullInt64
	// pg_control lags behind a promotion for seconds, the name of the current WAL file does not.
	err = q.QueryRowContext(ctx, `SELECT (SELECT system_identifier::text FROM pg_control_system()), `+
		`('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int::bigint, system_identifier, timeline, incarnation `+
		`FROM waybill.log WHERE name = 'outbox'`+lock).Scan(&system, &log.timeline, &knownSystem, &knownTimeline, &log.incarnation)
	switch {
	case err != nil:
		return log, false, wrap("identify the server", err)
	case knownSystem.String == system && knownTimeline.Int64 == log.timeline:
		return log, true, nil
	case knownSystem.Valid && knownSystem.String != system:
		return log, false, relay.Fatal(fmt.Errorf("waybill: WB1022 this server's system identifier is %s, the outbox came from %s: it was restored or copied into another cluster, "+
			"whose transaction numbers mean something else. Nothing is read, so nothing is lost. Try: start with an empty outbox and new relays here, or go back to the old cluster until it is drained", system, knownSystem.String))
	case knownSystem.Valid && lock != "":
		s.cfg.Logger.Warn("WB1024 the server was promoted: messages of transactions that it had not received may have been published and have no row any more",
			"timeline", log.timeline, "before", knownTimeline.Int64)
	}
	return log, false, nil
}

// goesOn compares the cursor that a takeover has just made durable with the last one that this process knows to be durable.
// An asynchronous save that was lost is normal, and so is everything lost on another timeline, which identify announced.
func (s *Source) goesOn(cur snapshot.Cursor, timeline int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.durable
	switch {
	case timeline < s.timeline:
		return fmt.Errorf("waybill: WB1025 this server is on timeline %d, and one promoted from it, on timeline %d, has been read: it is the old primary, or a backup. "+
			"Nothing is read from it. Try: stop it, and connect to the new primary", timeline, s.timeline)
	case timeline == s.timeline && (!cur.S0.Covers(known.S0) || cur.S0.Equal(known.S0) && cur.Last < known.Last):
		return relay.Fatal(fmt.Errorf("waybill: WB1023 the saved cursor went back from %s, which had been saved durably, to %s: "+
			"the database was restored to the past. Messages published since then may have no row any more, and new transactions may reuse their numbers. "+
			"Try: find out what was restored, then start a relay with a new name from: beginning or now", known, cur))
	}
	s.durable, s.timeline = cur, timeline
	return nil
}
