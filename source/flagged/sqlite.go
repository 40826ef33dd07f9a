package flagged

import (
	"context"
	"database/sql"
	"encoding/json"
	"strconv"

	"github.com/waybillhq/waybill/internal/sqliteconn"
	"github.com/waybillhq/waybill/internal/sqlstore"
)

var sqlite = &database{
	table:  "waybill_outbox_flagged",
	parked: "waybill_parked",
	arg:    func(n int) string { return "?" + strconv.Itoa(n) },
	text:   func(column string) string { return "CAST(" + column + " AS TEXT)" },
	size:   func(column string) string { return "length(" + column + ")" },
	among:  func(column string) string { return column + " IN (SELECT value FROM json_each(?1))" },
	list: func(positions []int64) string {
		text, _ := json.Marshal(positions) // integers always encode
		return string(text)
	},
	nullable: `SELECT count(*) FROM pragma_table_info(trim(?1, '"')) WHERE name = ?2 COLLATE NOCASE AND "notnull" = 0`,
	store:    sqlstore.SQLite,
	open: func(ctx context.Context, db *sql.DB) (conn, error) {
		conn, err := sqliteconn.Open(ctx, db)
		if err != nil {
			return nil, err
		}
		return file{conn}, nil
	},
}

type file struct{ *sqliteconn.Conn }

func (file) Interrupted() {}
