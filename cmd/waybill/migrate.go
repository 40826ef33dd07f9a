package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/schema"
)

type migrateCmd struct {
	Up       migrateUpCmd       `cmd:"" help:"Bring the database up to date; done twice it does nothing."`
	Print    migratePrintCmd    `cmd:"" help:"Print the SQL, for a migration tool of your own. Connects to nothing."`
	Validate migrateValidateCmd `cmd:"" help:"Compare the database with what it should be; exit 4 when they differ."`
}

type migrateUpCmd struct {
	sourceFlag
	Flagged bool `help:"Make the table outbox_flagged too, for sources with mode flagged."`
	Roles   bool `help:"Make the least-privilege roles too (PostgreSQL), as a user who may create roles."`
}

func (c migrateUpCmd) Run(ctx context.Context, a *app) error {
	_, source, err := c.pick(a)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	db, addr, err := a.database(ctx, source, true)
	if err != nil {
		return err
	}
	defer db.Close()
	applied, err := schema.Apply(ctx, db, addr.dialect)
	if err == nil && (c.Flagged || source.Mode == "flagged" && source.Table == "") {
		if err = schema.ApplyFlagged(ctx, db, addr.dialect); err == nil {
			applied = append(applied, "flagged")
		}
	}
	if err == nil && c.Roles {
		if err = schema.ApplyRoles(ctx, db, addr.dialect); err == nil {
			applied = append(applied, "roles")
		}
	}
	if err != nil {
		return err
	}
	rows := [][]string{{"the database is up to date"}}
	for _, name := range applied {
		rows = append(rows, []string{"applied " + name})
	}
	return a.print(map[string][]string{"applied": append([]string{}, applied...)}, nil, rows)
}

type migratePrintCmd struct {
	sourceFlag
	Dialect string `enum:"postgres,sqlite," default:"" placeholder:"postgres|sqlite" help:"Defaults to that of the source."`
	Flagged bool   `help:"Print the table outbox_flagged instead."`
	Roles   bool   `help:"Print the least-privilege roles instead (PostgreSQL)."`
}

func (c migratePrintCmd) Run(a *app) error {
	var d dialect.Dialect = dialect.Postgres
	switch c.Dialect {
	case "sqlite":
		d = dialect.SQLite
	case "":
		_, source, err := c.pick(a)
		if err != nil {
			return err
		}
		addr, err := parseSource(source.URL.Reveal())
		if err != nil {
			return err
		}
		d = addr.dialect
	}
	text, err := "", error(nil)
	switch {
	case c.Flagged:
		text, err = schema.PrintFlagged(d)
	case c.Roles:
		text, err = schema.PrintRoles(d)
	default:
		text, err = schema.Print(d)
	}
	if err != nil {
		return err
	}
	if a.Output == "json" {
		return a.print(map[string]string{"dialect": d.Name(), "sql": text}, nil, nil)
	}
	_, err = fmt.Fprint(a.out, text)
	return err
}

type migrateValidateCmd struct{ sourceFlag }

func (c migrateValidateCmd) Run(ctx context.Context, a *app) error {
	name, source, err := c.pick(a)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	db, addr, err := a.database(ctx, source, false)
	if err != nil {
		return err
	}
	defer db.Close()
	type problem struct {
		Object  string `json:"object"`
		Problem string `json:"problem"`
		Fix     string `json:"fix"`
	}
	var faults schema.Faults
	if err := schema.Validate(ctx, db, addr.dialect); err != nil && !errors.As(err, &faults) {
		return err
	}
	if source.Mode == "flagged" {
		own, err := flaggedFaults(ctx, db, addr.dialect, name, source)
		if err != nil {
			return err
		}
		faults = append(faults, own...)
	}
	found, rows := []problem{}, [][]string(nil)
	for _, f := range faults {
		found = append(found, problem(f))
		rows = append(rows, []string{f.Object, f.Problem, f.Fix})
	}
	header := []string{"OBJECT", "PROBLEM", "FIX"}
	if len(faults) == 0 {
		header, rows = nil, [][]string{{"ok    the database is as it should be"}}
	}
	v := map[string]any{"source": name, "ok": len(faults) == 0, "problems": found}
	if err := a.print(v, header, rows); err != nil || len(faults) == 0 {
		return err
	}
	return &fault.Error{Code: "WB4610", What: fmt.Sprintf("the database differs from what it should be, in %d places", len(faults)), Where: "source " + name,
		Try: "the fixes in the table", Exit: fault.Problems}
}
