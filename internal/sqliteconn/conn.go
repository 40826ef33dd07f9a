// Package sqliteconn is the connection on which a source reads an SQLite database: it notices what others commit, and
// makes it durable before anybody sends it.
package sqliteconn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// Conn is one connection of the caller's pool, taken for itself. It is used by one goroutine at a time.
type Conn struct {
	*sql.Conn
	version int64
	flushed time.Time
}

// Open takes a connection out of db and prepares it. Close it.
func Open(ctx context.Context, db *sql.DB) (*Conn, error) {
	if db.Stats().MaxOpenConnections == 1 {
		return nil, errors.New("waybill: WB1201 the *sql.DB allows one connection, which the source would keep for itself. Try: db.SetMaxOpenConns(4)")
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("waybill: WB1202 connect to SQLite: %w", err)
	}
	c := &Conn{Conn: conn, version: -1}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Conn) prepare(ctx context.Context) error {
	var journal string
	if err := c.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return fmt.Errorf("waybill: WB1202 connect to SQLite: %w", err)
	}
	if journal != "wal" {
		return fmt.Errorf("waybill: WB1203 the SQLite database has journal_mode %s, in which readers and writers block each other. Try: "+
			"run PRAGMA journal_mode = WAL once (the file remembers it)", journal)
	}
	for _, pragma := range []string{"PRAGMA synchronous = FULL", fmt.Sprintf("PRAGMA busy_timeout = %d", BusyTimeout)} {
		if _, err := c.ExecContext(ctx, pragma); err != nil {
			return fmt.Errorf("waybill: WB1202 connect to SQLite: %w", err)
		}
	}
	return nil
}

// Changed tells whether another connection, of any process, has committed since the last call. It costs a look at shared
// memory, no read of the file (https://www.sqlite.org/pragma.html#pragma_data_version).
func (c *Conn) Changed(ctx context.Context) (bool, error) {
	before := c.version
	err := c.QueryRowContext(ctx, "PRAGMA data_version").Scan(&c.version)
	return c.version != before, err
}

// flushPause is the least time between two flushes.
const flushPause = 20 * time.Millisecond

// Flush makes everything durable that this connection can see, also what others committed with synchronous=NORMAL, who leave
// the write-ahead log unsynced: a commit with synchronous=FULL appends to the same log and syncs the whole file. The row must
// really change, because SQLite neither writes nor syncs for an update that leaves a page as it is.
func (c *Conn) Flush(ctx context.Context) error {
	timer := time.NewTimer(time.Until(c.flushed.Add(flushPause)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := Retry(ctx, func() error {
		_, err := c.ExecContext(ctx, `INSERT INTO waybill_log (name, incarnation) VALUES ('flush', 1) `+
			`ON CONFLICT (name) DO UPDATE SET incarnation = incarnation + 1`)
		return err
	})
	if err != nil {
		return fmt.Errorf("make it durable: %w", err)
	}
	c.flushed = time.Now()
	return nil
}

// Close ends the connection for good, so that its settings reach nobody else.
func (c *Conn) Close() error {
	err := c.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}
