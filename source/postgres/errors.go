package postgres

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybillhq/waybill/internal/sqlstore"
)

var (
	errStandby = errors.New("waybill: WB1011 this server is a standby, whose snapshots do not know the running transactions. " +
		"Try: connect to the primary; a URL with several hosts and target_session_attrs=read-write finds it")
	errAnotherSession = errors.New("waybill: WB1012 another server session answers than the one that was opened: a pooler stands between. " +
		"Try: give the relay a direct connection, or session pooling")
	errNoTables = errors.New("waybill: WB1003 a table of Waybill does not exist in this database. Try: waybill migrate up")
)

// meaning says what an error of the server or the store means here, and is nil for any other.
func meaning(err error) error {
	var server *pgconn.PgError
	var known error
	switch {
	case errors.Is(err, errStandby), errors.Is(err, errAnotherSession), errors.Is(err, errNoTables):
		return err
	case errors.Is(err, sqlstore.ErrGuard):
		known = errAnotherSession
	case errors.As(err, &server):
		// https://www.postgresql.org/docs/current/errcodes-appendix.html
		known = map[string]error{
			"25006": errStandby,        // read-only transaction: connect turned the default off
			"26000": errAnotherSession, // a prepared statement that this session made does not exist,
			"42P05": errAnotherSession, // or one that it did not make does
			"3F000": errNoTables,       // no schema
			"42P01": errNoTables,
		}[server.Code]
	}
	if known == nil {
		return nil
	}
	return fmt.Errorf("%w (%w)", known, err)
}

func explain(err error) error {
	if m := meaning(err); m != nil {
		return m
	}
	return err
}

func wrap(what string, err error) error {
	if err == nil || meaning(err) != nil {
		return explain(err)
	}
	return fmt.Errorf("waybill: WB1010 %s from PostgreSQL: %w", what, err)
}
