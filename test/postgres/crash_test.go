package postgres

import (
	"errors"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// lazyServer flushes its log only when a commit asks for it: nothing runs that would flush by chance.
func lazyServer(t *testing.T) *testenv.Postgres {
	t.Helper()
	return testenv.StartPostgres(t, testenv.PostgresConfig{Settings: []string{
		"autovacuum=off", "bgwriter_lru_maxpages=0", "wal_writer_delay=10s", "checkpoint_timeout=1h"}})
}

// freezeWALWriter stops the last process that flushes by itself.
func (s *scene) freezeWALWriter() {
	s.t.Helper()
	pid, err := strconv.Atoi(s.text(`SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'`))
	s.must(err)
	s.must(syscall.Kill(pid, syscall.SIGSTOP))
	s.t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) }) // by then it is gone, unless the test failed early
}

// restart kills the server and starts it again.
func (s *scene) restart(pg *testenv.Postgres) {
	s.t.Helper()
	pg.Kill()
	pg.Restart()
	s.reconnect()
}

// cursor is the saved cursor of the relay.
func (s *scene) cursor() snapshot.Cursor {
	s.t.Helper()
	c, err := snapshot.ParseCursor(s.text(`SELECT coalesce((SELECT nullif(position, '') FROM waybill.cursor WHERE relay = 'orders'), '3:3:')`))
	s.must(err)
	return c
}

// R1: a crash gives the numbers of rolled-back transactions to new ones. A snapshot kept in memory has seen them end.
func TestNumbersReusedAfterACrashHideNothing(t *testing.T) {
	t.Parallel()
	pg := lazyServer(t)
	s := newSceneAt(t, pg.URL())
	g := newGate(t, pg.URL())
	sink := &recorder{}
	r := s.run(s.sourceAt(g.url, postgres.Config{}), sink, relay.Config{Lease: time.Hour}) // no renewal, which would flush
	s.publish("k", "before")
	sink.want(t, "before")
	s.freezeWALWriter()

	rolledBack := func() (xid int64) {
		tx := s.begin()
		tx.publish("k", "never")
		xid = tx.xid()
		s.must(tx.Rollback())
		return xid
	}
	lowest := rolledBack()
	within(t, "the relay to have seen many rolled-back transactions end", func() bool {
		rolledBack()
		return s.cursor().S0.Xmax > uint64(lowest)+150
	})
	seen := s.cursor().S0
	g.shut()
	s.restart(pg)

	var first int64
	for _, id := range []string{"after1", "after2"} {
		tx := s.begin()
		tx.publish("k", id)
		if xid := tx.xid(); first == 0 {
			first = xid
		}
		tx.commit()
	}
	if uint64(first) >= seen.Xmax {
		t.Fatalf("the server gave the number %d, which the snapshot %s had not seen: nothing was reused", first, seen)
	}
	for s.number(`SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint`) <= int64(seen.Xmax) {
		s.number(`SELECT pg_current_xact_id()::text::bigint`) // so that the new snapshots cover the old one
	}
	g.open()
	sink.want(t, "after1", "after2")
	r.stop()
}

// R4: a commit with synchronous_commit=off is visible before it is durable.
func TestAsynchronousCommitIsNotPublishedBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	pg := lazyServer(t)
	s := newSceneAt(t, pg.URL())
	cut := make(chan struct{})
	sink := &recorder{before: func(m *relay.Message) error {
		if m.ID == "async" {
			select {
			case <-cut:
			default:
				pg.Kill() // at the very moment at which the broker gets it
				close(cut)
				return errors.New("nobody knows what became of it")
			}
		}
		return nil
	}}
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{Lease: time.Hour})
	s.publish("k", "before")
	sink.want(t, "before")
	s.freezeWALWriter()
	s.publishAsync("async")
	within(t, "the message to reach the broker", func() bool {
		select {
		case <-cut:
			return true
		default:
			return false
		}
	})
	pg.Restart()
	s.reconnect()
	if s.number(`SELECT count(*) FROM waybill.outbox WHERE id = 'async'`) == 0 {
		t.Error("the broker got a message whose transaction the crash undid")
	}
	sink.want(t, "async")
	r.stop()

	// Without a relay the same commit is undone: the server is as lazy as the test needs it.
	s.freezeWALWriter()
	s.publishAsync("undone")
	s.restart(pg)
	if s.number(`SELECT count(*) FROM waybill.outbox WHERE id = 'undone'`) != 0 {
		t.Error("an asynchronous commit survived, so this test shows nothing")
	}
}

func (s *scene) publishAsync(id string) {
	s.t.Helper()
	tx := s.begin()
	tx.run(`SET LOCAL synchronous_commit = off`)
	tx.publish("k", id)
	tx.commit()
}
