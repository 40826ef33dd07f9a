package store

import (
	"database/sql"
	"testing"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/flagged"
	"github.com/waybillhq/waybill/waybilltest"
)

func flaggedHarness(t *testing.T, d dialect.Dialect, open func(*testing.T) *sql.DB, table string,
	lacks map[waybilltest.SourceAbility]string,
) waybilltest.SourceHarness {
	t.Helper()
	app := open(t)
	return waybilltest.SourceHarness{
		Open: func(t *testing.T) (relay.Source, relay.Store) {
			src := newFlagged(t, open(t), d, flagged.Config{})
			return src, src
		},
		Begin: func(t *testing.T) waybilltest.Transaction { return begin(t, app, d, table) },
		Lacks: lacks,
	}
}

func newFlagged(t *testing.T, db *sql.DB, d dialect.Dialect, cfg flagged.Config) *flagged.Source {
	t.Helper()
	src, err := flagged.New(db, d, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return src
}
