package postgres

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// FAULTS 35: every connection of the server is taken.
func TestRelayWaitsForAFreeConnection(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresConfig{Settings: []string{"max_connections=12", "superuser_reserved_connections=0", "max_wal_senders=0", "wal_level=minimal"}})
	s := newSceneAt(t, pg.URL())
	s.publish("k", "one")
	taken := openDB(t, pg.URL())
	taken.SetMaxIdleConns(20)
	var holders []func() error
	for {
		conn, err := taken.Conn(t.Context())
		if err != nil {
			break
		}
		holders = append(holders, conn.Close)
	}
	sink := &recorder{}
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{})
	within(t, "the refusal", func() bool { return strings.Contains(r.Status().LastError, "53300") })
	for _, free := range holders {
		s.must(free())
	}
	s.must(taken.Close())
	sink.want(t, "one")
	r.stop()
}

// FAULTS 38: somebody locks the cursor's table for longer than a save may take.
func TestLockedCursorCostsDuplicatesAtMost(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	sink := &recorder{}
	const window = 200
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{Window: window, Lease: 2 * time.Second})
	load := s.load(5)
	sink.want(t, "k0-20")
	lock := s.begin()
	lock.run(`LOCK TABLE waybill.cursor IN ACCESS EXCLUSIVE MODE`)
	epoch := r.Status().Epoch
	within(t, "the relay to give up waiting", func() bool { return r.Status().State == "waiting" })
	lock.commit()
	within(t, "the relay to start anew", func() bool { return r.Status().Epoch > epoch && r.Status().State == "running" })
	load.end()
	load.check(t, window, sink.ids)
	r.stop()
}

// FAULTS 39: the table is full of dead rows that nobody cleans up, because a transaction elsewhere still could see them.
func TestDeadRowsCostAPollNothing(t *testing.T) {
	t.Parallel()
	s := newTalkingScene(t)
	dead := 100_000
	if long {
		dead = 5_000_000
	}
	sees := newTalkingScene(t).begin()
	sees.xid()
	s.exec(`INSERT INTO waybill.outbox (id, topic, key, type, payload) SELECT n, 'orders', n % 100, 'order.changed', 'payload' FROM generate_series(1, $1::int) n`, dead)
	reader, err := s.source(postgres.Config{From: relay.Now}).Open(t.Context(), "")
	s.must(err)
	defer reader.Close()
	s.exec(`DELETE FROM waybill.outbox`)
	from := len(s.logged())
	for _, id := range names("m", 5) {
		s.publish("k", id)
		_, err := reader.Read(t.Context(), relay.Budget{Messages: 100, Bytes: 1000})
		s.must(err)
	}
	s.publish("k", names("many", 500)...)
	for n := 0; n < 500; {
		batch, err := reader.Read(t.Context(), relay.Budget{Messages: 100, Bytes: 1 << 20})
		s.must(err)
		n += len(batch.Messages)
	}
	worst := map[kind]float64{}
	for _, p := range s.plans(from) {
		for _, k := range []kind{look, bounds, page} {
			if p.is(k) {
				worst[k] = max(worst[k], p.Plan.Hit+p.Plan.Read)
			}
		}
		// A dead row costs a page of the heap: the buffers tell, the rows do not.
		if n := p.Plan.Hit + p.Plan.Read; (p.is(look) || p.is(page) || p.is(bounds)) && n > 200 {
			t.Errorf("%v buffers for\n%s", n, p.Query)
		}
	}
	t.Logf("the most buffers of one statement: %v", worst)
}

// FAULTS 40: the numbers end, or begin anew. A position is no number, so the relay goes on.
func TestNumbersAtTheirEndAndFromTheBeginning(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	sink := &recorder{}
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{})
	s.publish("k", "one")
	sink.want(t, "one")
	s.exec(`SELECT setval('waybill.outbox_pos_seq', 9223372036854775806)`)
	s.publish("k", "last")
	sink.want(t, "last")
	tx := s.begin()
	if _, err := tx.Exec(`INSERT INTO waybill.outbox (id, topic, type) VALUES ('never', 'orders', 't')`); err == nil {
		t.Error("a row was inserted beyond the last number")
	}
	s.must(tx.Rollback())
	s.exec(`TRUNCATE waybill.outbox RESTART IDENTITY`)
	s.publish("k", names("again", 5)...)
	sink.want(t, names("again", 5)...)
	r.stop()
}

// FAULTS 36: the disk is full. The application hears of it inside its transaction, and everything goes on once there is room.
func TestFullDiskFailsThePublisherAndNotTheRelay(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresConfig{})
	s := newSceneAt(t, pg.URL())
	s.exec(`CREATE TABLESPACE small LOCATION '` + pg.SmallDisk(t, 8<<20) + `'`)
	s.exec(`ALTER TABLE waybill.outbox SET TABLESPACE small; ALTER INDEX waybill.outbox_pkey SET TABLESPACE small; ALTER INDEX waybill.outbox_xid_pos SET TABLESPACE small`)
	s.exec(`ALTER TABLE waybill.cursor SET TABLESPACE small; ALTER INDEX waybill.cursor_pkey SET TABLESPACE small`)
	s.exec(`ALTER TABLE waybill.lease SET TABLESPACE small; ALTER INDEX waybill.lease_pkey SET TABLESPACE small`)
	sink := &recorder{}
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{})
	s.exec(`CREATE TABLE ballast (payload bytea) TABLESPACE small; ALTER TABLE ballast ALTER payload SET STORAGE EXTERNAL`)
	var committed []string
	full := false
	for n := 1; !full; n++ {
		tx := s.begin()
		id := fmt.Sprint("m", n)
		tx.publish("k", id)
		if _, err := tx.Exec(`INSERT INTO ballast VALUES (convert_to(repeat('x', 200000), 'UTF8'))`); err != nil {
			full = strings.Contains(err.Error(), "53100")
			if !full {
				t.Fatal(err)
			}
			s.must(tx.Rollback())
			break
		}
		tx.commit()
		committed = append(committed, id)
	}
	sink.want(t, committed...)
	s.exec(`DROP TABLE ballast`)
	s.publish("k", "after")
	sink.want(t, "after")
	r.stop()
	if have := len(sink.ids()); have < len(committed)+1 {
		t.Errorf("%d messages published, %d committed", have, len(committed)+1)
	}
}
