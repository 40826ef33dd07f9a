package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/cmd/waybill/internal/look"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/sqlstore"
)

type parkedCmd struct {
	List    parkedListCmd    `cmd:"" help:"List the messages that are set aside, or the groups of their errors."`
	Show    parkedShowCmd    `cmd:"" help:"Show all of one message that is set aside, its body too."`
	Retry   parkedRetryCmd   `cmd:"" help:"Have messages tried again now, in the order of their keys."`
	Edit    parkedEditCmd    `cmd:"" help:"Change a message and have it tried again. The original is kept in the table audit."`
	Discard parkedDiscardCmd `cmd:"" help:"Give messages up: they are never published. The originals are kept in the table audit."`
}

// filters choose messages set aside. Key and ID choose, too, where a message is edited: neither can be changed.
type filters struct {
	Relay string   `placeholder:"NAME" help:"Only messages of this relay."`
	Key   string   `placeholder:"KEY" help:"Only messages of this key."`
	ID    []string `name:"id" sep:"none" help:"Only messages with this id; may be given several times."`
	Error string   `placeholder:"GROUP" help:"Only messages whose error is of this group, as list --group names it."`
	State string   `enum:",held,parked" default:"" placeholder:"held|parked" help:"Only messages in this state."`
	Limit int      `default:"100" help:"At most so many messages; 0 is no limit. Defaults to 100."`
}

// place is a database with messages set aside.
type place struct {
	source  string
	db      *sql.DB
	dialect dialect.Dialect
	store   *sqlstore.Store
}

// asideMessage is one message set aside and where.
type asideMessage struct {
	*place
	sqlstore.Aside
}

func (m asideMessage) group() (name, shape string) { return look.Group(m.Aside.Error, m.ID) }

// places opens the databases in which messages of a relay may be; an empty name is of all relays. One that is not configured
// may have left messages in any database.
func (a *app) places(ctx context.Context, relay string) (list []*place, err error) {
	cfg, err := a.load(nil)
	if err != nil {
		return nil, err
	}
	sources := slices.Sorted(maps.Keys(cfg.Sources))
	if r, ok := cfg.Relays[relay]; ok {
		sources = []string{r.Source}
	}
	if len(sources) == 0 {
		return nil, &fault.Error{Code: "WB4604", What: "no source is configured", Try: "WAYBILL_SOURCE=postgres://..., or waybill init", Exit: fault.Usage}
	}
	seen := map[string]bool{}
	for _, name := range sources {
		s := cfg.Sources[name]
		if seen[s.URL.Reveal()] {
			continue
		}
		seen[s.URL.Reveal()] = true
		p, err := a.place(ctx, name, s)
		if err != nil {
			closePlaces(list)
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func (a *app) place(ctx context.Context, name string, s config.Source) (*place, error) {
	db, addr, err := a.database(ctx, s, false)
	if err != nil {
		return nil, err
	}
	p := &place{source: name, db: db, dialect: addr.dialect, store: sqlstore.Postgres(db)}
	if addr.dialect == dialect.SQLite {
		p.store = sqlstore.SQLite(db)
	}
	return p, nil
}

func closePlaces(list []*place) {
	for _, p := range list {
		p.db.Close()
	}
}

// failed explains an error of the database.
func (p *place) failed(doing string, err error) error {
	var server *pgconn.PgError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &server) && server.Code == "42501":
		return &fault.Error{Code: "WB4806", Where: "source " + p.source, What: "the database's user may not " + doing, Why: err,
			Try: "a user with the role waybill_relay; waybill_ro sees neither bodies nor headers and changes nothing"}
	}
	return &fault.Error{Code: "WB4807", Where: "source " + p.source, What: "could not " + doing, Why: err, Try: "waybill migrate validate --source " + p.source}
}

// picked is what filters chose.
type picked struct {
	list []asideMessage
	more int // that were left out for the limit, at most look.Most
}

func (p picked) asides() []sqlstore.Aside {
	list := make([]sqlstore.Aside, len(p.list))
	for i, m := range p.list {
		list[i] = m.Aside
	}
	return list
}

// each calls f with every message that the filters choose, but for their limit. most bounds what is read; 0 is all.
func (f filters) each(ctx context.Context, places []*place, topic string, names []string, most int, do func(asideMessage)) error {
	choice := sqlstore.Choice{Relay: f.Relay, Topic: topic, Key: f.Key, State: f.State, Names: append(slices.Clone(names), f.ID...)}
	if f.Error != "" {
		most = 0 // the group is known only here
	}
	for _, p := range places {
		err := p.store.EachAside(ctx, choice, most, func(s sqlstore.Aside) error {
			m := asideMessage{p, s}
			if group, _ := m.group(); f.Error == "" || f.Error == group {
				do(m)
			}
			return nil
		})
		if err != nil {
			return p.failed("read the messages set aside", err)
		}
	}
	return nil
}

func (f filters) pick(ctx context.Context, places []*place, topic string, names []string) (p picked, err error) {
	most := 0
	if f.Limit > 0 {
		most = f.Limit + look.Most
	}
	err = f.each(ctx, places, topic, names, most, func(m asideMessage) {
		if f.Limit == 0 || len(p.list) < f.Limit {
			p.list = append(p.list, m)
		} else {
			p.more++
		}
	})
	return p, err
}

// one finds the message that a name means.
func (f filters) one(ctx context.Context, places []*place, name string) (asideMessage, error) {
	found, err := f.pick(ctx, places, "", []string{name})
	if err == nil {
		err = unambiguous(found.list, []string{name})
	}
	if err != nil {
		return asideMessage{}, err
	}
	return found.list[0], nil
}

// unambiguous sees to it that every name means one message.
func unambiguous(list []asideMessage, names []string) error {
	for _, name := range names {
		var at []string
		for _, m := range list {
			if m.ID == name || fmt.Sprint(m.Pos) == name {
				at = append(at, m.Relay)
			}
		}
		switch {
		case len(at) == 0:
			return &fault.Error{Code: "WB4801", What: fmt.Sprintf("no message %.128q is set aside", name), Try: "waybill parked list"}
		case len(at) > 1 && at[0] != at[1]:
			return &fault.Error{Code: "WB4802", What: fmt.Sprintf("several messages %.128q are set aside, for the relays %s", name, strings.Join(at, ", ")), Try: "--relay " + at[0], Exit: fault.Usage}
		case len(at) > 1:
			return &fault.Error{Code: "WB4802", What: fmt.Sprintf("%d messages %.128q of relay %s are set aside", len(at), name, at[0]), Try: "say which by its pos, as waybill parked list shows it", Exit: fault.Usage}
		}
	}
	return nil
}
