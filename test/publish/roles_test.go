package publish

import (
	"context"
	"database/sql"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/schema"
)

func withRoles(t *testing.T) database {
	t.Helper()
	d := migratedPostgres(t)
	if err := schema.ApplyFlagged(t.Context(), d.db, d.dialect); err != nil {
		t.Fatal(err)
	}
	if err := schema.ApplyRoles(t.Context(), d.db, d.dialect); err != nil {
		t.Fatal(err)
	}
	return d
}

// as runs fn in a transaction under a role.
func (d database) as(t *testing.T, role string, fn func(tx *sql.Tx)) {
	t.Helper()
	tx := d.begin(t)
	if _, err := tx.ExecContext(t.Context(), `SET LOCAL ROLE `+role); err != nil {
		t.Fatal(err)
	}
	fn(tx)
	if err := tx.Commit(); err != nil {
		t.Errorf("commit as %s: %v", role, err)
	}
}

// refused says that the role may not run the statement.
func (d database) refused(t *testing.T, role, query string) {
	t.Helper()
	tx := d.begin(t)
	defer tx.Rollback()
	if _, err := tx.ExecContext(t.Context(), `SET LOCAL ROLE `+role); err != nil {
		t.Fatal(err)
	}
	_, err := tx.ExecContext(t.Context(), query)
	if err == nil || !strings.Contains(err.Error(), "permission denied") && !strings.Contains(err.Error(), "42501") && !strings.Contains(err.Error(), "428C9") {
		t.Errorf("as %s, %s: %v, want it refused", role, query, err)
	}
}

func TestTheWriterRolePublishesAndCanDoNothingElse(t *testing.T) {
	t.Parallel()
	d := withRoles(t)
	d.as(t, "waybill_writer", func(tx *sql.Tx) {
		for _, cfg := range []waybill.Config{{}, {KeyLock: true}, {Table: "waybill.outbox_flagged"}} {
			o := d.newOutbox(t, cfg)
			for _, msgs := range [][]waybill.Message{awkward(), awkward()[:1]} {
				if err := o.Publish(t.Context(), waybill.SQL(tx), msgs...); err != nil {
					t.Error(err)
				}
			}
		}
		var id string
		if err := tx.QueryRowContext(t.Context(), `SELECT waybill.publish('t', 'k', 'n', '{}')`).Scan(&id); err != nil || len(id) != 36 {
			t.Errorf("waybill.publish returned %q, %v", id, err)
		}
	})
	if got := d.stored(t); len(got) != 13 {
		t.Errorf("%d messages, want 13", len(got))
	}
	for _, query := range []string{
		`SELECT id FROM waybill.outbox`,
		`UPDATE waybill.outbox SET topic = 'x'`,
		`DELETE FROM waybill.outbox`,
		`TRUNCATE waybill.outbox`,
		`INSERT INTO waybill.outbox (id, topic, type) VALUES ('a', 't', 'n') RETURNING pos`,
		`INSERT INTO waybill.outbox (pos, id, topic, type) OVERRIDING SYSTEM VALUE VALUES (1, 'a', 't', 'n')`,
		`INSERT INTO waybill.outbox (xid, id, topic, type) VALUES ('3', 'a', 't', 'n')`,
		`INSERT INTO waybill.outbox (created_at, id, topic, type) VALUES (now(), 'a', 't', 'n')`,
		`INSERT INTO waybill.outbox_flagged (is_published, id, topic, type) VALUES (true, 'a', 't', 'n')`,
		`SELECT nextval('waybill.outbox_pos_seq')`,
		`SELECT * FROM waybill.cursor`,
		`SELECT * FROM waybill.outbox_status`,
		`CREATE TABLE waybill.mine (x int)`,
	} {
		d.refused(t, "waybill_writer", query)
	}
}

func TestTheRelayRoleMovesCursorsAndCannotForgeMessages(t *testing.T) {
	t.Parallel()
	d := withRoles(t)
	d.publish(t, d.newOutbox(t, waybill.Config{}), awkward()...)
	d.as(t, "waybill_relay", func(tx *sql.Tx) {
		for _, query := range []string{
			`SELECT * FROM waybill.outbox`, `SELECT * FROM waybill.outbox_status`, `SELECT * FROM waybill.migration`,
			`INSERT INTO waybill.lease VALUES ('r', 'o', 1, now())`, `UPDATE waybill.lease SET epoch = 2`,
			`INSERT INTO waybill.cursor (relay, epoch) VALUES ('r', 1)`, `UPDATE waybill.cursor SET position = ''`,
			`INSERT INTO waybill.parked (relay, pos, incarnation, lane, state, id, topic, type) VALUES ('r', 1, 1, 'k', 'held', 'i', 't', 'n')`,
			`UPDATE waybill.parked SET attempts = 1`, `DELETE FROM waybill.parked`,
			`INSERT INTO waybill.log VALUES ('outbox', 1)`, `UPDATE waybill.log SET incarnation = 2`,
			`UPDATE waybill.outbox_flagged SET is_published = true`, `DELETE FROM waybill.outbox WHERE pos < 3`,
			`SELECT pg_logical_emit_message(true, 'waybill', '')`, `SELECT pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn()`,
			`SELECT system_identifier FROM pg_control_system()`,
		} {
			if _, err := tx.ExecContext(t.Context(), query); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
	})
	for _, query := range []string{
		`INSERT INTO waybill.outbox (id, topic, type) VALUES ('a', 't', 'n')`,
		`UPDATE waybill.outbox SET topic = 'x'`,
		`UPDATE waybill.outbox_flagged SET topic = 'x'`,
		`SELECT waybill.publish('t', 'k', 'n', '{}')`,
		`DROP TABLE waybill.outbox`,
	} {
		d.refused(t, "waybill_relay", query)
	}
}

func TestTheReadOnlyRoleSeesNoPayloadAndNoHeader(t *testing.T) {
	t.Parallel()
	d := withRoles(t)
	d.as(t, "waybill_ro", func(tx *sql.Tx) {
		for _, query := range []string{
			`SELECT pos, id, topic, key, type FROM waybill.outbox`, `SELECT * FROM waybill.outbox_status`, `SELECT * FROM waybill.cursor`,
			`SELECT * FROM waybill.lease`, `SELECT relay, pos, error FROM waybill.parked`, `SELECT * FROM waybill.log`,
		} {
			if _, err := tx.ExecContext(t.Context(), query); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
	})
	for _, query := range []string{
		`SELECT payload FROM waybill.outbox`, `SELECT headers FROM waybill.outbox`, `SELECT payload FROM waybill.parked`,
		`SELECT payload FROM waybill.outbox_flagged`, `DELETE FROM waybill.lease`, `UPDATE waybill.cursor SET epoch = 0`,
	} {
		d.refused(t, "waybill_ro", query)
	}
}

func TestRolesMayBeAppliedAgainAndByManyDatabasesAtOnce(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 3 {
		d := withRoles(t)
		wg.Go(func() {
			if err := schema.ApplyRoles(context.Background(), d.db, d.dialect); err != nil {
				t.Error(err)
			}
			if err := schema.Validate(context.Background(), d.db, d.dialect); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A user who owns the database and belongs to waybill_owner, but is no superuser, can do all of it.
func TestMigrationsNeedNoSuperuser(t *testing.T) {
	t.Parallel()
	withRoles(t) // so that the roles exist: they belong to the cluster
	d := postgres(t)
	var name, admin string
	if err := d.db.QueryRowContext(t.Context(), `SELECT current_database(), 'admin_' || current_database()`).Scan(&name, &admin); err != nil {
		t.Fatal(err)
	}
	d.exec(t, `CREATE ROLE `+admin+` LOGIN CREATEROLE PASSWORD 'admin'; GRANT waybill_owner TO `+admin+`; ALTER DATABASE `+name+` OWNER TO `+admin)
	t.Cleanup(func() {
		if _, err := d.db.ExecContext(context.Background(), `REASSIGN OWNED BY `+admin+` TO CURRENT_USER; DROP OWNED BY `+admin+`; DROP ROLE `+admin); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(admin, "admin")
	own := open(t, "pgx", u.String())
	if _, err := schema.Apply(t.Context(), own, d.dialect); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := schema.ApplyRoles(t.Context(), own, d.dialect); err != nil {
			t.Fatal(err)
		}
	}
	d.as(t, "waybill_writer", func(tx *sql.Tx) {
		if err := d.newOutbox(t, waybill.Config{}).Publish(t.Context(), waybill.SQL(tx), awkward()...); err != nil {
			t.Error(err)
		}
	})
}
