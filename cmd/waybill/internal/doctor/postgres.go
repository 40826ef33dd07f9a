package doctor

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// Primary tells whether the server is one that a relay can read.
func (s Source) Primary(ctx context.Context) (fine string, found []Result, err error) {
	var version string
	var number int
	var standby bool
	err = s.DB.QueryRowContext(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num')::int, pg_is_in_recovery()`).Scan(&version, &number, &standby)
	switch {
	case err != nil:
		return "", nil, err
	case standby:
		found = append(found, Result{Level: Refuse, Code: "WB1011", Text: "this server is a standby, whose snapshots do not know the running transactions",
			Try: "connect to the primary; a URL with several hosts and target_session_attrs=read-write finds it"})
	case number < 130000:
		found = append(found, Result{Level: Refuse, Code: "WB4709", Text: "PostgreSQL " + version + " has no pg_current_snapshot", Try: "PostgreSQL 13 or newer"})
	}
	return "PostgreSQL " + version + ", the primary", found, nil
}

// History tells whether this server is the one that wrote the outbox, and is not behind what relays have saved.
func (s Source) History(ctx context.Context) (fine string, found []Result, err error) {
	var known, system string
	err = s.DB.QueryRowContext(ctx, `SELECT coalesce((SELECT system_identifier FROM waybill.log WHERE name = 'outbox'), ''), system_identifier::text FROM pg_control_system()`).Scan(&known, &system)
	if err != nil {
		return "", nil, err
	}
	if known != "" && known != system {
		found = append(found, Result{Level: Refuse, Code: "WB1022", Text: fmt.Sprintf("this server's system identifier is %s, the outbox came from %s: it was restored or copied into another cluster, whose transaction numbers mean something else", system, known),
			Try: "start with an empty outbox and new relays here, or go back to the old cluster until it is drained"})
	}
	ahead, err := column[string](ctx, s.DB, `SELECT relay FROM waybill.cursor WHERE position ~ '^[0-9]+:[0-9]+:' `+
		`AND pg_snapshot_xmax(split_part(position, ' ', 1)::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot()) ORDER BY 1`)
	if len(ahead) > 0 {
		found = append(found, Result{Level: Refuse, Code: "WB1021", Text: "cursors are ahead of this server, so it was restored to the past, or they were copied: " + quoted(ahead),
			Try: "find out what was restored, then start these relays under new names, from: beginning or now"})
	}
	return "the server is the one that wrote the outbox, and no cursor is ahead of it", found, err
}

// Pooler notices a pooler that gives the transactions of one connection to several server sessions: while another connection
// is inside a transaction, what this one set is gone.
func (s Source) Pooler(ctx context.Context) (fine string, found []Result, err error) {
	one, err := s.DB.Conn(ctx)
	if err != nil {
		return "", nil, err
	}
	defer one.Close()
	two, err := s.DB.Conn(ctx) // before anything is set: a pooler may give a new connection a session of its own at first
	if err != nil {
		return "", nil, err
	}
	defer two.Close()
	token, got := rand.Text(), ""
	if _, err := one.ExecContext(ctx, `SELECT set_config('waybill.doctor', $1, false)`, token); err != nil {
		return "", nil, err
	}
	other, err := two.BeginTx(ctx, nil)
	if err != nil {
		return "", nil, err
	}
	defer other.Rollback()
	if _, err := other.ExecContext(ctx, `SELECT`); err != nil {
		return "", nil, err
	}
	if err := one.QueryRowContext(ctx, `SELECT coalesce(current_setting('waybill.doctor', true), '')`).Scan(&got); err != nil {
		return "", nil, err
	}
	if got != token && !s.Flagged {
		found = append(found, Result{Level: Refuse, Code: "WB1012", Text: "another server session answers than the one that was opened: a pooler in transaction mode stands between",
			Try: "give the relay a direct connection, or session pooling; services that publish may go through any pooler"})
	}
	return "one connection is one server session", found, nil
}

// Rights compares what this user may do with what a relay does.
func (s Source) Rights(ctx context.Context) (fine string, found []Result, err error) {
	var usage bool
	var user string
	err = s.DB.QueryRowContext(ctx, `SELECT current_user, coalesce((SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'waybill'), true)`).Scan(&user, &usage)
	if err != nil {
		return "", nil, err
	}
	outbox, changes := "SELECT", []string{"lease", "cursor", "parked"}
	if s.Retention > 0 {
		outbox += ",DELETE"
	}
	if s.Flagged {
		outbox += ",UPDATE"
	}
	want := [][2]string{{s.Table, outbox}, {"waybill.log", "SELECT,INSERT,UPDATE"}, {"waybill.audit", "INSERT"}}
	for _, table := range changes {
		want = append(want, [2]string{"waybill." + table, "SELECT,INSERT,UPDATE,DELETE"})
	}
	var missing []string
	for _, w := range want {
		if !usage {
			missing = []string{"USAGE on schema waybill"}
			break
		}
		for right := range strings.SplitSeq(w[1], ",") {
			var has bool
			// A table that is not there is what the schema check reports.
			err := s.DB.QueryRowContext(ctx, `SELECT coalesce(CASE WHEN $2 = 'UPDATE' THEN has_any_column_privilege(to_regclass($1)::oid, $2) `+
				`ELSE has_table_privilege(to_regclass($1)::oid, $2) END, true)`, w[0], right).Scan(&has)
			if err != nil {
				return "", nil, err
			}
			if !has {
				missing = append(missing, right+" on "+w[0])
			}
		}
	}
	if len(missing) > 0 {
		found = append(found, Result{Level: Refuse, Code: "WB4704", Text: fmt.Sprintf("user %q lacks what a relay needs: %s", user, strings.Join(missing, ", ")),
			Try: fmt.Sprintf("waybill migrate up --roles, then GRANT waybill_relay TO %q", user)})
	}
	return fmt.Sprintf("user %q may do what a relay does", user), found, nil
}

// Settings looks at those of the server that a crash would tell about.
func (s Source) Settings(ctx context.Context) (fine string, found []Result, err error) {
	off, err := column[string](ctx, s.DB, `SELECT name FROM pg_settings WHERE name IN ('autovacuum', 'fsync', 'full_page_writes') AND setting = 'off' ORDER BY 1`)
	if err != nil {
		return "", nil, err
	}
	for _, name := range off {
		r := Result{Level: Refuse, Code: "WB4705", Text: name + " is off: a crash of the machine can take messages that were published, or damage the database", Try: "ALTER SYSTEM SET " + name + " = on"}
		if name == "autovacuum" {
			r.Level, r.Text = Warn, "autovacuum is off: each relay updates its cursor up to ten times a second, and nobody removes the old versions of the row"
		}
		found = append(found, r)
	}
	return "fsync, full_page_writes and autovacuum are on", found, nil
}

// Prepared looks for prepared transactions older than age, which nobody may ever finish: their messages stay invisible.
func (s Source) Prepared(ctx context.Context, age time.Duration) (fine string, found []Result, err error) {
	list, err := column[string](ctx, s.DB, `SELECT quote_literal(gid) || chr(1) || CASE WHEN database = current_database() THEN '' ELSE ' of database ' || quote_ident(database) END || `+
		`' of ' || date_trunc('second', prepared) FROM pg_prepared_xacts WHERE prepared <= clock_timestamp() - make_interval(secs => $1::float8) ORDER BY prepared LIMIT 10`, age.Seconds())
	for _, which := range list {
		gid, since, _ := strings.Cut(which, "\x01")
		found = append(found, Result{Level: Warn, Code: "WB4703", Text: "a prepared transaction waits since long: " + gid + since + ". Messages in it are not published, and dead rows of the whole cluster stay",
			Try: "ask its transaction manager; if that is gone, COMMIT PREPARED " + gid + " or ROLLBACK PREPARED " + gid})
	}
	return fmt.Sprintf("no prepared transaction is older than %v", age), found, err
}

// Open looks for transactions older than age that hold dead rows.
func (s Source) Open(ctx context.Context, age time.Duration) (fine string, found []Result, err error) {
	list, err := column[string](ctx, s.DB, `SELECT 'process ' || pid || ' of ' || coalesce(quote_ident(usename), '?') || ', ' || coalesce(state, '?') || ', since ' || date_trunc('second', xact_start) `+
		`FROM pg_stat_activity WHERE xact_start <= clock_timestamp() - make_interval(secs => $1::float8) AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL) `+
		`AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY xact_start LIMIT 10`, age.Seconds())
	for _, which := range list {
		found = append(found, Result{Level: Warn, Code: "WB4710", Text: "a transaction is open since long: " + which + ". Messages in it are not published, and no dead row since then can go, of cursors neither",
			Try: "end it where it comes from; idle_in_transaction_session_timeout ends such sessions by itself"})
	}
	return fmt.Sprintf("no transaction is open for longer than %v", age), found, err
}
