package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/internal/testenv"
)

func TestEverySourceAndModeFromMigrateToStatus(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, mode string
		url        func(t *testing.T) string
	}{
		{"PostgreSQL cursor", "cursor", func(t *testing.T) string { return testenv.Database(t) }},
		{"PostgreSQL flagged", "flagged", func(t *testing.T) string { return testenv.Database(t) }},
		{"SQLite cursor", "cursor", func(*testing.T) string { return "sqlite:app.db" }},
		{"SQLite flagged", "flagged", func(*testing.T) string { return "sqlite:app.db" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, broker := embedded(t)
			s.env = append(s.env, "WAYBILL_SOURCE="+test.url(t), "WAYBILL_SOURCES__DEFAULT__MODE="+test.mode)
			if out := s.must("migrate", "up", "--flagged"); !strings.Contains(out, "applied 0001_waybill") {
				t.Errorf("migrate up printed %s", out)
			}
			s.must("migrate", "up", "--flagged")
			s.must("migrate", "validate")
			for range 3 {
				s.must("send", "--topic", "orders", "--type", "order.created", "--key", "k")
			}
			before := readStatus(t, s)
			if before.State != "never ran" || before.Pending == nil || *before.Pending != 3 || before.Oldest == nil || before.Mode != test.mode {
				t.Errorf("before the run: %+v", before)
			}
			p := s.start("run", "--listen", "off")
			if messages := consume(t, broker, 3); string(messages[2].Data()) != "body from standard input" {
				t.Errorf("body %q", messages[2].Data())
			}
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
			after := readStatus(t, s)
			if after.State != "no owner" || after.Pending == nil || *after.Pending != 0 || after.Oldest != nil || after.SavedAgo == nil {
				t.Errorf("after the run: %+v", after)
			}
		})
	}
}

func TestRolesOfPostgreSQL(t *testing.T) {
	t.Parallel()
	s := newShell(t, "WAYBILL_SOURCE="+testenv.Database(t))
	if out := s.must("migrate", "up", "--roles", "--flagged"); !strings.Contains(out, "applied roles") {
		t.Errorf("printed %s", out)
	}
	var printed struct{ Dialect, SQL string }
	if err := json.Unmarshal([]byte(s.must("migrate", "print", "--roles", "-o", "json")), &printed); err != nil {
		t.Fatal(err)
	}
	if printed.Dialect != "postgres" || !strings.Contains(printed.SQL, "waybill_writer") {
		t.Errorf("printed %+v", printed)
	}
	if out := s.must("migrate", "print", "--dialect", "sqlite", "--flagged"); !strings.Contains(out, "waybill_outbox_flagged") {
		t.Errorf("printed %s", out)
	}
}

func TestInitWritesWhatRuns(t *testing.T) {
	t.Parallel()
	for driver, sink := range map[string]string{"pgx": "kafka", "sql": "rabbitmq", "sqlite": "nats"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			s := newShell(t, "DATABASE_URL=postgres://app@localhost/db", "AMQP_URL=amqp://h")
			lines := s.must("init", "--driver", driver, "--sink", sink)
			if !strings.Contains(lines, "outbox.Publish(ctx, waybill.") || strings.Count(lines, "\n") > 15 {
				t.Errorf("the lines to paste: %s", lines)
			}
			if out := s.must("config", "check"); strings.Contains(out, "warn") {
				t.Errorf("printed %s", out)
			}
			if driver == "sqlite" {
				s.must("migrate", "up")
				s.must("status")
			}
		})
	}
}

func TestInitFindsTheDriver(t *testing.T) {
	t.Parallel()
	for module, driver := range map[string]string{"modernc.org/sqlite v1": "sqlite", "github.com/lib/pq v1": "sql", "github.com/jackc/pgx/v5 v5": "pgx", "": "pgx"} {
		s := newShell(t)
		s.write("go.mod", "module x\n\nrequire "+module+"\n")
		if out := s.must("init", "-o", "json"); !strings.Contains(out, `"driver": "`+driver+`"`) {
			t.Errorf("%s: %s", module, out)
		}
	}
}

func TestValidateSeesAFlaggedTableOfOnesOwn(t *testing.T) {
	t.Parallel()
	s := newShell(t, "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK=nats://127.0.0.1:1", "WAYBILL_SOURCES__DEFAULT__MODE=flagged")
	s.must("migrate", "up") // makes outbox_flagged, because the source reads it
	s.must("migrate", "validate")
	s.must("send", "--topic", "a", "--type", "b")

	s.env = append(s.env, "WAYBILL_SOURCES__DEFAULT__TABLE=waybill_outbox_flagged", "WAYBILL_SOURCES__DEFAULT__COLUMNS__POS=seq",
		"WAYBILL_SOURCES__DEFAULT__COLUMNS__TIME=at", "WAYBILL_SOURCES__DEFAULT__COLUMNS__KEY=-")
	out, _, code := s.run("migrate", "validate")
	for _, want := range []string{"waybill_outbox_flagged.seq", "sources.default.columns.pos\n", `sources.default.columns.time, "-" if`} {
		if code != 4 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in:\n%s", code, want, out)
		}
	}
	s.env = append(s.env, "WAYBILL_SOURCES__DEFAULT__TABLE=events")
	if out, _, code := s.run("migrate", "validate"); code != 4 || !strings.Contains(out, "correct sources.default.table") {
		t.Errorf("exit %d: %s", code, out)
	}
}
