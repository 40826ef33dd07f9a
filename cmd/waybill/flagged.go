package main

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"slices"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/schema"
)

// ownColumns are those that a flagged table may lack.
var ownColumns = []string{"key", "content_type", "headers", "time", "created_at"}

// flaggedFaults compares a flagged table, which may be one that no migration made, with what the configuration says of it.
func flaggedFaults(ctx context.Context, db *sql.DB, d dialect.Dialect, name string, s config.Source) (faults schema.Faults, err error) {
	table, fix := s.Table, fmt.Sprintf("make the table, let the user read it, or correct sources.%s.table", name)
	if table == "" {
		table, fix = flaggedTable(d), "waybill migrate up --flagged"
	}
	quoted, err := d.Quote(table)
	if err != nil {
		return nil, err
	}
	look := func(what string) error {
		_, err := db.ExecContext(ctx, "SELECT "+what+" FROM "+quoted+" AS t LIMIT 0")
		return err
	}
	if err := look("1"); err != nil {
		return schema.Faults{{Object: table, Problem: "cannot be read: " + err.Error(), Fix: fix}}, ctx.Err()
	}
	columns := reflect.ValueOf(s.Columns)
	for i := range columns.NumField() {
		key := columns.Type().Field(i).Tag.Get("yaml")
		column := columns.Field(i).String()
		if column == "" {
			column = key
		}
		optional := slices.Contains(ownColumns, key)
		if optional && column == "-" || key == "topic" && s.Topic != "" || key == "type" && s.Type != "" {
			continue
		}
		quoted, err := d.Quote(column)
		if err != nil {
			return nil, err
		}
		if err := look("t." + quoted); err != nil {
			fix := fmt.Sprintf("correct sources.%s.columns.%s", name, key)
			if optional {
				fix += `, "-" if the table has none`
			}
			faults = append(faults, schema.Fault{Object: table + "." + column, Problem: "cannot be read: " + err.Error(), Fix: fix})
		}
	}
	return faults, ctx.Err()
}
