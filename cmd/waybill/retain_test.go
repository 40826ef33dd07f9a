package main

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/internal/testenv"
)

func TestOldMessagesGoOnceEveryRelayHasPublishedThem(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T, s shell) (url, driver, dsn, prefix string){
		"postgres": func(t *testing.T, s shell) (string, string, string, string) {
			url := testenv.Database(t)
			return url, "pgx", url, "waybill."
		},
		"sqlite": func(t *testing.T, s shell) (string, string, string, string) {
			return "sqlite:app.db", "sqlite", "file:" + filepath.Join(s.dir, "app.db") + "?_pragma=busy_timeout(10000)", "waybill_"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, broker := embedded(t)
			url, driver, dsn, prefix := open(t, s)
			s.env = append(s.env, "WAYBILL_SOURCE="+url, "WAYBILL_SOURCES__DEFAULT__RETENTION__AGE=1ms")
			s.must("migrate", "up")
			for range 3 {
				s.must("send", "--topic", "orders", "--type", "order.created", "--key", "k")
			}
			db, err := sql.Open(driver, dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			exec := func(query string) {
				t.Helper()
				if _, err := db.Exec(query); err != nil {
					t.Fatal(err)
				}
			}
			rows := func() (n int) {
				t.Helper()
				if err := db.QueryRow(`SELECT count(*) FROM ` + prefix + `outbox`).Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			exec(`INSERT INTO ` + prefix + `cursor (relay, epoch) VALUES ('abandoned', 1)`)

			p := s.start("run", "--listen", "off")
			p.WaitOutput(t, "WB5006")
			consume(t, broker, 3)
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
			if out := p.Output(); !strings.Contains(out, `"relays":["abandoned"`) || rows() != 3 {
				t.Errorf("%d rows are left; %s", rows(), out)
			}

			exec(`DELETE FROM ` + prefix + `cursor WHERE relay = 'abandoned'`)
			p = s.start("run", "--listen", "off")
			p.WaitOutput(t, "retention deleted old messages")
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
			if n := rows(); n != 0 || strings.Contains(p.Output(), "WB5006") {
				t.Errorf("%d rows are left; %s", n, p.Output())
			}
		})
	}
}
