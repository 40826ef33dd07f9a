package main

import (
	"database/sql"
	"errors"
	"log/slog"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/flagged"
	"github.com/waybillhq/waybill/source/postgres"
	"github.com/waybillhq/waybill/source/sqlite"
)

// source is what every source package offers.
type source interface {
	unclosed
	Close() error
}

type unclosed interface {
	relay.Source
	relay.Store
	relay.Retainer
}

// openSource makes the source of one relay. It connects to nothing.
func openSource(s config.Source, log *slog.Logger) (source, error) {
	addr, err := parseSource(s.URL.Reveal())
	if err != nil {
		return nil, err
	}
	if addr.dialect == dialect.Postgres && s.Mode == "cursor" {
		return postgres.New(addr.url, postgres.Config{From: relay.From(s.From), Logger: log, Table: s.Table})
	}
	db, err := addr.open(false)
	if err != nil {
		return nil, err
	}
	var src unclosed
	if s.Mode == "flagged" {
		src, err = flagged.New(db, addr.dialect, flagged.Config{Table: s.Table, Columns: flagged.Columns(s.Columns), Topic: s.Topic, Type: s.Type})
	} else {
		src, err = sqlite.New(db, sqlite.Config{From: relay.From(s.From), Table: s.Table})
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if ranger, ok := src.(relay.Ranger); ok {
		return withDBAndRanger{withDB{src, db}, ranger}, nil
	}
	return withDB{src, db}, nil
}

// withDB closes the handle that a source was given.
type withDB struct {
	unclosed
	db *sql.DB
}

func (s withDB) Close() error { return s.db.Close() }

// withDBAndRanger does not hide what the source can besides.
type withDBAndRanger struct {
	withDB
	relay.Ranger
}
