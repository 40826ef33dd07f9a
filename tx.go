package waybill

import (
	"context"
	"database/sql"
)

// Tx is the caller's own transaction: the message is written in it, and commits or rolls back with it. Make one with
// [SQL] or [Pgx]. A pool, a connection or an *sql.DB does not compile: outside the transaction a message could be lost or
// invented.
type Tx interface {
	exec(ctx context.Context, query string, args []any) error
}

// SQL wraps a transaction of database/sql.
func SQL(tx *sql.Tx) Tx { return sqlTx{tx} }

type sqlTx struct{ tx *sql.Tx }

func (t sqlTx) exec(ctx context.Context, query string, args []any) error {
	if t.tx == nil {
		return ErrNoTx
	}
	_, err := t.tx.ExecContext(ctx, query, args...)
	return err
}

// PgxTx is the shape of a pgx transaction: pgx.Tx and *pgxpool.Tx have it, pools and connections lack Commit and Rollback.
type PgxTx[Tag any] interface {
	Exec(ctx context.Context, query string, args ...any) (Tag, error)
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
}

// Pgx wraps a transaction of pgx, a savepoint included. Tag is inferred: write waybill.Pgx(tx).
func Pgx[Tag any](tx PgxTx[Tag]) Tx { return pgxTx[Tag]{tx} }

type pgxTx[Tag any] struct{ tx PgxTx[Tag] }

func (t pgxTx[Tag]) exec(ctx context.Context, query string, args []any) error {
	if t.tx == nil {
		return ErrNoTx
	}
	_, err := t.tx.Exec(ctx, query, args...)
	return err
}
