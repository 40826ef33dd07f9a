package store

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/flagged"
)

// After TRUNCATE ... RESTART IDENTITY a row set aside before has the number of a new message.
func TestAnotherMessageWithTheSamePosIsNotTakenForTheOneSetAside(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]struct {
		d    dialect.Dialect
		open func(*testing.T) *sql.DB
	}{
		"postgres": {dialect.Postgres, func(t *testing.T) *sql.DB { _, open := postgresDatabase(t); return open(t) }},
		"sqlite":   {dialect.SQLite, func(t *testing.T) *sql.DB { return sqliteFile(t)(t) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := newFlagged(t, of.open(t), of.d, flagged.Config{})
			lease := acquire(t, src, "a").Lease
			park := func(ids ...string) error {
				save := relay.Save{}
				for i, id := range ids {
					p := relay.Parked{Lane: "=k", State: relay.StateHeld, Message: relay.Message{Message: message(id), Pos: int64(i + 1)}}
					save.Park = append(save.Park, p, p)
				}
				return src.Save(t.Context(), lease, save)
			}
			for _, ids := range [][]string{{"one"}, {"one", "two"}, {"one", "two"}} {
				if err := park(ids...); err != nil {
					t.Fatal(err)
				}
			}
			if err := park("one", "other", "three"); !relay.IsFatal(err) || !strings.Contains(err.Error(), `"other"`) {
				t.Errorf("another message at pos 2: %v", err)
			}
			held, err := src.Held(t.Context(), lease, "=k", 10)
			if err != nil || len(held) != 2 {
				t.Errorf("%d messages are held, %v", len(held), err)
			}
		})
	}
}
