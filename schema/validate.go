package schema

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/waybillhq/waybill/dialect"
)

// Fault is one thing that is missing or wrong.
type Fault struct {
	Object  string // such as waybill.outbox.headers
	Problem string
	Fix     string // SQL that ends with a semicolon, or words
}

// Faults is returned by [Validate]: everything that is wrong, at once.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, x := range f {
		lines[i] = fmt.Sprintf("waybill: WB4301 %s %s. Try: %s", x.Object, x.Problem, x.Fix)
	}
	return strings.Join(lines, "\n")
}

func (f *Faults) add(object, problem, fix string) { *f = append(*f, Fault{object, problem, fix}) }

// Validate compares the database with what the migrations make: tables, columns, defaults, indexes, the identity of pos,
// the encoding. It returns [Faults] when something differs, and changes nothing. Columns of your own are allowed.
func Validate(ctx context.Context, db *sql.DB, d dialect.Dialect) error {
	b, err := of(d)
	if err != nil {
		return err
	}
	list, err := migrations(d)
	if err != nil {
		return err
	}
	done, err := recorded(ctx, db, b)
	if err != nil {
		return fmt.Errorf("waybill: WB4305 read the migrations: %w", err)
	}
	var pending []string
	for _, m := range list {
		if !done[m.version] {
			pending = append(pending, m.name)
		}
	}
	faults, err := b.check(ctx, db)
	if err != nil {
		return fmt.Errorf("waybill: WB4305 read the catalogue: %w", err)
	}
	if len(pending) == 0 {
		for i := range faults { // up would do nothing
			faults[i].Fix = strings.TrimPrefix(faults[i].Fix, "waybill migrate up, or ")
		}
	} else {
		faults.add("database", "lacks the migration "+strings.Join(pending, ", "), "waybill migrate up")
	}
	if len(faults) == 0 {
		return nil
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return strings.Compare(a.Object, b.Object) })
	return faults
}

type column struct{ table, name, typ, null, def string }

type columns []column

func (c columns) has(table string) bool {
	return slices.ContainsFunc(c, func(c column) bool { return c.table == table })
}

func (c columns) as(table, other string) (copies columns) {
	for _, x := range c {
		if x.table == table {
			x.table = other
			copies = append(copies, x)
		}
	}
	return copies
}

func columnsOf(rows [][]string) (list columns) {
	for _, r := range rows {
		list = append(list, column{r[0], r[1], r[2], r[3], r[4]})
	}
	return list
}

func compare(want, have columns, prefix string, fix func(want column, have *column) string) (faults Faults) {
	missing := ""
	for _, w := range want {
		name := prefix + w.table + "." + w.name
		i := slices.IndexFunc(have, func(h column) bool { return h.table == w.table && h.name == w.name })
		switch {
		case !have.has(w.table):
			if missing != w.table {
				faults.add(prefix+w.table, "is missing", "waybill migrate up, or create it as waybill migrate print shows")
			}
			missing = w.table
		case i < 0:
			faults.add(name, "is missing", fix(w, nil))
		case have[i] != w:
			h := have[i]
			faults.add(name, fmt.Sprintf("is %s, must be %s", h, w), fix(w, &h))
		}
	}
	return faults
}

func (c column) String() string {
	if c.def == "" {
		return c.typ + " " + c.null
	}
	return c.typ + " " + c.null + " default " + c.def
}

func split(list string) (rows [][]string) {
	for line := range strings.Lines(strings.TrimSpace(list)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "|"))
	}
	return rows
}

func contains(rows [][]string, want []string) bool {
	return slices.ContainsFunc(rows, func(r []string) bool {
		return r[0] == want[0] && r[1] == want[1] && (want[2] == "" || r[2] == want[2])
	})
}

// texts returns all rows of a query whose columns are texts.
func texts(ctx context.Context, q querier, query string) (list [][]string, err error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		row, into := make([]string, len(names)), make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}
