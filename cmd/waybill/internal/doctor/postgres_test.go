package doctor

import (
	"context"
	"crypto/rand"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/schema"
)

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	db := stdlib.OpenDB(*cfg)
	t.Cleanup(func() { db.Close() })
	return db
}

// source is a database with Waybill's tables, read by the relays.
func source(t *testing.T, relays ...Relay) (s Source, url string) {
	t.Helper()
	url = testenv.Database(t)
	s = Source{DB: open(t, url), Dialect: dialect.Postgres, Table: `"waybill"."outbox"`, Pos: `"pos"`, Topic: `"topic"`, Relays: relays}
	if _, err := schema.Apply(t.Context(), s.DB, dialect.Postgres); err != nil {
		t.Fatal(err)
	}
	if err := schema.ApplyRoles(t.Context(), s.DB, dialect.Postgres); err != nil {
		t.Fatal(err)
	}
	return s, url
}

func exec(t *testing.T, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// want compares what a check found with codes.
func want(t *testing.T, what string, found []Result, err error, codes ...string) {
	t.Helper()
	var got []string
	for _, f := range found {
		got = append(got, f.Code)
		if f.Text == "" || f.Try == "" {
			t.Errorf("%s: a result without text or help: %+v", what, f)
		}
	}
	if err != nil || strings.Join(got, " ") != strings.Join(codes, " ") {
		t.Errorf("%s: got %+v, %v, want %q", what, found, err, codes)
	}
}

func TestAHealthyServerHasNoFindings(t *testing.T) {
	t.Parallel()
	s, _ := source(t)
	for name, check := range map[string]func(context.Context) (string, []Result, error){
		"primary": s.Primary, "pooler": s.Pooler, "history": s.History, "rights": s.Rights, "clock": s.Clock, "retained": s.Retained,
		"prepared": func(ctx context.Context) (string, []Result, error) { return s.Prepared(ctx, 24*time.Hour) },
		"open":     func(ctx context.Context) (string, []Result, error) { return s.Open(ctx, 24*time.Hour) },
	} {
		fine, found, err := check(t.Context())
		want(t, name, found, err)
		if fine == "" {
			t.Errorf("%s says nothing", name)
		}
	}
}

func TestAStandbyIsRefused(t *testing.T) {
	t.Parallel()
	primary := testenv.StartPostgres(t, testenv.PostgresConfig{})
	s := Source{DB: open(t, primary.Standby(t).URL()), Dialect: dialect.Postgres}
	_, found, err := s.Primary(t.Context())
	want(t, "primary", found, err, "WB1011")
}

func TestAnotherHistoryIsRefused(t *testing.T) {
	t.Parallel()
	s, _ := source(t)
	exec(t, s.DB, `INSERT INTO waybill.log (name, incarnation, system_identifier) VALUES ('outbox', 1, '4711')`)
	exec(t, s.DB, `INSERT INTO waybill.cursor (relay, epoch, position) VALUES ('new', 1, ''), ('old', 1, '3:3:'), ('ahead', 1, '5:999999999999:7 12 5:999999999999:'), ('flag', 1, 'flagged x')`)
	_, found, err := s.History(t.Context())
	want(t, "history", found, err, "WB1022", "WB1021")
	if !strings.HasSuffix(found[1].Text, `copied: "ahead"`) {
		t.Errorf("got %+v", found[1])
	}
}

func TestAPoolerInTransactionModeIsNoticed(t *testing.T) {
	t.Parallel()
	s, url := source(t)
	s.DB = open(t, newPooler(t, url))
	_, found, err := s.Pooler(t.Context())
	want(t, "pooler", found, err, "WB1012")
	s.Flagged = true // its relay has no session to lose
	_, found, err = s.Pooler(t.Context())
	want(t, "pooler in mode flagged", found, err)
}

func TestMissingRightsAreNamed(t *testing.T) {
	t.Parallel()
	s, url := source(t)
	admin := s.DB
	user := "doctor_" + strings.ToLower(rand.Text()) // roles belong to the cluster
	exec(t, admin, `CREATE ROLE `+user+` LOGIN`)
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.User, cfg.DefaultQueryExecMode = user, pgx.QueryExecModeExec
	s.DB = stdlib.OpenDB(*cfg)
	t.Cleanup(func() { s.DB.Close() })
	look := func(lacks string) {
		t.Helper()
		_, found, err := s.Rights(t.Context())
		if err != nil || len(found) != 1 || found[0].Level != Refuse || !strings.HasSuffix(found[0].Text, "needs: "+lacks) {
			t.Errorf("got %+v, %v, want %s", found, err, lacks)
		}
	}
	look("USAGE on schema waybill")
	for _, grant := range []string{"USAGE ON SCHEMA waybill", "SELECT ON waybill.outbox, waybill.cursor, waybill.log", "INSERT, UPDATE ON waybill.log",
		"SELECT, INSERT, UPDATE, DELETE ON waybill.lease, waybill.parked", "INSERT ON waybill.audit"} {
		exec(t, admin, `GRANT `+grant+` TO `+user)
	}
	look("INSERT on waybill.cursor, UPDATE on waybill.cursor, DELETE on waybill.cursor")
	exec(t, admin, `GRANT INSERT, UPDATE, DELETE ON waybill.cursor TO `+user)
	s.Retention = time.Hour
	look(`DELETE on "waybill"."outbox"`)
	exec(t, admin, `GRANT waybill_relay TO `+user)
	_, found, err := s.Rights(t.Context())
	want(t, "the role is enough", found, err)
}

func TestSettingsThatLoseWhatWasPublished(t *testing.T) {
	t.Parallel()
	p := testenv.StartPostgres(t, testenv.PostgresConfig{Settings: []string{"fsync=off", "autovacuum=off"}})
	s := Source{DB: open(t, p.Database(t)), Dialect: dialect.Postgres}
	_, found, err := s.Settings(t.Context())
	levels := map[string]Level{}
	for _, f := range found {
		name, _, _ := strings.Cut(f.Text, " ")
		levels[name] = f.Level
	}
	if err != nil || levels["fsync"] != Refuse || levels["autovacuum"] != Warn {
		t.Errorf("got %+v, %v", found, err)
	}
}

func TestForgottenTransactionsAreNamedWithWhatEndsThem(t *testing.T) {
	t.Parallel()
	s, _ := source(t)
	conn, err := s.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	exec(t, conn, `BEGIN; INSERT INTO waybill.outbox (id, topic, type) VALUES ('1', 'a', 'b'); PREPARE TRANSACTION 'it''s of doctor'`)
	defer conn.ExecContext(context.WithoutCancel(t.Context()), `ROLLBACK PREPARED 'it''s of doctor'`)
	_, found, err := s.Prepared(t.Context(), 0)
	text := ""
	for _, f := range found { // other tests of this cluster may have some too
		text += f.Text + f.Try
	}
	if err != nil || !strings.Contains(text, `ROLLBACK PREPARED 'it''s of doctor'`) || !strings.Contains(text, "'it''s of doctor' of 20") {
		t.Errorf("got %q, %v", text, err)
	}
	exec(t, conn, `BEGIN; SELECT pg_current_xact_id()`)
	_, found, err = s.Open(t.Context(), 0)
	text = ""
	for _, f := range found {
		text += f.Code + " " + f.Text
	}
	if err != nil || !strings.Contains(text, "WB4710") || !strings.Contains(text, "idle in transaction, since 20") {
		t.Errorf("got %q, %v", text, err)
	}
	exec(t, conn, `ROLLBACK`)
}

func TestTopicsThatNobodyTakesAreNamed(t *testing.T) {
	t.Parallel()
	s, _ := source(t, Relay{"a", []string{"orders.*"}}, Relay{"b", []string{"billing"}})
	exec(t, s.DB, `INSERT INTO waybill.outbox (id, topic, type) SELECT 'm' || n, CASE n % 3 WHEN 0 THEN 'orders.created' WHEN 1 THEN 'billing' ELSE 'stock' END, 't' FROM generate_series(1, 30) AS n`)
	exec(t, s.DB, `INSERT INTO waybill.cursor (relay, branch, epoch) VALUES ('a', '', 1), ('a', 'orders.late', 1), ('gone', '', 1)`)
	topics, err := s.Topics(t.Context())
	if got := strings.Join(topics, " "); err != nil || got != "billing orders.created orders.late stock" {
		t.Errorf("topics %q, %v", got, err)
	}
	_, found := s.Untaken(topics)
	want(t, "untaken", found, nil, "WB4702")
	if found[0].Level != Warn || !strings.HasSuffix(found[0].Text, `never published: "stock"`) {
		t.Errorf("got %+v", found)
	}
	s.Retention = time.Hour
	if _, found = s.Untaken(topics); found[0].Level != Refuse {
		t.Errorf("with retention: %+v", found)
	}
	_, found, err = s.Retained(t.Context())
	want(t, "retained", found, err, "WB4707")
	s.Relays = append(s.Relays, Relay{"rest", []string{"*"}})
	_, found = s.Untaken(topics)
	want(t, "taken", found, nil)
	s.Relays = nil
	_, found = s.Untaken(topics)
	want(t, "no relay", found, nil, "WB4702")
}
