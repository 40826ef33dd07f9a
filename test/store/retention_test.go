package store

import (
	"database/sql"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/schema"
	"github.com/waybillhq/waybill/source/flagged"
	"github.com/waybillhq/waybill/source/postgres"
	"github.com/waybillhq/waybill/source/sqlite"
)

// outbox is an outbox whose rows age and go.
type outbox struct {
	t      *testing.T
	d      dialect.Dialect
	table  string
	prefix string // of Waybill's other tables
	chunk  int    // rows that one statement of retention goes over
	db     *sql.DB
	open   func() retaining // one relay's source
}

type retaining interface {
	relay.Source
	relay.Store
	relay.Retainer
}

// outboxes runs a test on every kind of outbox whose relays have cursors that count, or on those with a flag.
func outboxes(t *testing.T, withFlag bool, test func(o *outbox)) {
	mode := map[bool]string{false: " cursor", true: " flagged"}[withFlag]
	t.Run("postgres"+mode, func(t *testing.T) {
		t.Parallel()
		dsn, open := postgresDatabase(t)
		o := &outbox{t: t, d: dialect.Postgres, table: "waybill.outbox", prefix: "waybill.", chunk: 1000, db: open(t)}
		o.must(schema.ApplyRoles(t.Context(), o.db, o.d))
		u, err := url.Parse(dsn)
		o.must(err)
		q := u.Query()
		q.Set("role", "waybill_relay") // which is all that a relay has
		u.RawQuery = q.Encode()
		o.open = func() retaining {
			src, err := postgres.New(u.String(), postgres.Config{})
			o.must(err)
			t.Cleanup(func() { src.Close() })
			return src
		}
		if withFlag {
			o.table = "waybill.outbox_flagged"
			o.open = func() retaining { return newFlagged(t, openDB(t, "pgx", u.String()), o.d, flagged.Config{}) }
		}
		test(o)
	})
	t.Run("sqlite"+mode, func(t *testing.T) {
		t.Parallel()
		open := sqliteFile(t)
		o := &outbox{t: t, d: dialect.SQLite, table: "waybill_outbox", prefix: "waybill_", chunk: 100, db: open(t)}
		o.open = func() retaining {
			src, err := sqlite.New(open(t), sqlite.Config{})
			o.must(err)
			return src
		}
		if withFlag {
			o.table = "waybill_outbox_flagged"
			o.open = func() retaining { return newFlagged(t, open(t), o.d, flagged.Config{}) }
		}
		test(o)
	})
}

func (o *outbox) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// publish commits n messages.
func (o *outbox) publish(n int) {
	o.t.Helper()
	tx := begin(o.t, o.db, o.d, o.table)
	messages := make([]waybill.Message, n)
	for i := range messages {
		messages[i] = message(fmt.Sprint(i))
	}
	tx.Publish(messages...)
	tx.Commit()
}

// left returns the positions of the rows that are there, as ranges such as 1-3,5.
func (o *outbox) left() string {
	o.t.Helper()
	rows, err := o.db.Query(`SELECT pos FROM ` + o.table + ` ORDER BY pos`)
	o.must(err)
	defer rows.Close()
	var ranges []string
	var from, to, pos int64
	end := func() {
		switch {
		case from == 0:
		case from == to:
			ranges = append(ranges, fmt.Sprint(from))
		default:
			ranges = append(ranges, fmt.Sprintf("%d-%d", from, to))
		}
	}
	for rows.Next() {
		o.must(rows.Scan(&pos))
		if from == 0 || pos != to+1 {
			end()
			from = pos
		}
		to = pos
	}
	o.must(rows.Err())
	end()
	return strings.Join(ranges, ",")
}

// retain makes a pass and says what must be left, and who holds rows back.
func (o *outbox) retain(age time.Duration, left string, heldBy ...string) {
	o.t.Helper()
	done, err := o.open().Retain(o.t.Context(), age)
	o.must(err)
	if have := o.left(); have != left {
		o.t.Fatalf("%s are left, want %s", have, left)
	}
	if fmt.Sprint(done.HeldBy) != fmt.Sprint(heldBy) {
		o.t.Errorf("held back by %q, want %q", done.HeldBy, heldBy)
	}
}

// running is a relay that the test drives by hand.
type running struct {
	o      *outbox
	src    retaining
	tenure relay.Tenure
	reader relay.Reader
}

func (o *outbox) relay(name string, topics ...string) *running {
	o.t.Helper()
	r := &running{o: o, src: o.open()}
	var err error
	r.tenure, err = r.src.Acquire(o.t.Context(), relay.Claim{Relay: name, Owner: "test", TTL: time.Hour, Topics: topics})
	o.must(err)
	r.reader, err = r.src.Open(o.t.Context(), r.tenure.Position)
	o.must(err)
	o.t.Cleanup(func() { r.reader.Close() })
	return r
}

// pass reads n messages and saves, with those of the given positions set aside.
func (r *running) pass(n int, aside ...int64) { r.o.t.Helper(); r.read(n, 0, aside...) }

// passLast is pass for messages behind which there are none: the reader looks further and finds that out.
func (r *running) passLast(n int) { r.o.t.Helper(); r.read(n, 1) }

func (r *running) read(n, further int, aside ...int64) {
	r.o.t.Helper()
	for n > 0 {
		batch, err := r.reader.Read(r.o.t.Context(), relay.Budget{Messages: n + further, Bytes: 1 << 20})
		r.o.must(err)
		save := relay.Save{Position: batch.Position(len(batch.Messages))}
		for i, m := range batch.Messages {
			if slices.Contains(aside, m.Pos) {
				save.Park = append(save.Park, relay.Parked{Message: m, Lane: "k", State: relay.StateHeld})
				continue
			}
			save.Published = append(save.Published, &batch.Messages[i])
		}
		r.o.must(r.src.Save(r.o.t.Context(), r.tenure.Lease, save))
		n -= len(batch.Messages)
	}
}

func (r *running) unpark(positions ...int64) {
	r.o.t.Helper()
	var save relay.Save
	for _, pos := range positions {
		m := relay.Message{Pos: pos}
		save.Unpark, save.Published = append(save.Unpark, relay.Parked{Message: m}), append(save.Published, &m)
	}
	r.o.must(r.src.Save(r.o.t.Context(), r.tenure.Lease, save))
}

func TestRetentionDeletesBehindEveryCursorAndNoParkedRow(t *testing.T) {
	t.Parallel()
	outboxes(t, false, func(o *outbox) {
		n := 2*o.chunk + o.chunk/2
		o.publish(n)
		o.retain(0, fmt.Sprintf("1-%d", n)) // no relay: nothing is published
		fast := o.relay("fast")
		fast.pass(n, 3, 7)
		slow := o.relay("slow")
		o.retain(0, fmt.Sprintf("1-%d", n), "slow")
		slow.pass(n)
		o.publish(10)
		fast.pass(10)
		o.retain(time.Hour, fmt.Sprintf("1-%d", n+10)) // too young
		slow.pass(4)                                   // in the midst of what was committed at once
		o.retain(0, map[bool]string{
			true:  fmt.Sprintf("3,7,%d-%d", n+1, n+10), // the span is not done
			false: fmt.Sprintf("3,7,%d-%d", n+5, n+10),
		}[o.d == dialect.Dialect(dialect.Postgres)], "slow")
		slow.passLast(6)
		o.retain(0, "3,7")
		fast.unpark(3)
		o.retain(0, "7")
	})
}

// Two relays share an outbox by topic. What neither takes is passed by both and published by none.
func TestRetentionKeepsTheTopicsThatNoRelayTakes(t *testing.T) {
	t.Parallel()
	outboxes(t, false, func(o *outbox) {
		o.publish(5)
		for pos, topic := range []string{"", "orders.new", "orders", "billing", "x-y", "x_y"} {
			exec(o.t, o.db, fmt.Sprintf(`UPDATE %s SET topic = '%s' WHERE pos = %d`, o.table, topic, pos))
		}
		first := o.relay("first", "orders.*", "x_y")
		second := o.relay("second", "billing")
		first.passLast(5)
		second.passLast(5)
		o.retain(0, "2,4")
		all := o.relay("all")
		all.passLast(2)
		o.retain(0, "")
	})
}

// Rows that stay do not stop the walk, however many there are.
func TestRetentionWalksPastRowsThatStay(t *testing.T) {
	t.Parallel()
	for _, withFlag := range []bool{false, true} {
		outboxes(t, withFlag, func(o *outbox) {
			n := o.chunk * 5 / 2
			o.publish(n + 5)
			r := o.relay("r")
			r.pass(n + 5)
			exec(o.t, o.db, fmt.Sprintf(`INSERT INTO %sparked (relay, pos, incarnation, lane, state, id, topic, type) SELECT 'gone', pos, 1, 'k', 'parked', id, topic, type FROM %s WHERE pos <= %d`,
				o.prefix, o.table, n))
			if withFlag { // as the rows are that are set aside
				exec(o.t, o.db, fmt.Sprintf(`UPDATE %s SET is_published = FALSE WHERE pos <= %d`, o.table, n))
			}
			o.retain(0, fmt.Sprintf("1-%d", n))
		})
	}
}

func TestRetentionOfFlaggedDeletesWhatIsMarked(t *testing.T) {
	t.Parallel()
	outboxes(t, true, func(o *outbox) {
		n := 2*o.chunk + o.chunk/2
		o.publish(n)
		o.retain(0, fmt.Sprintf("1-%d", n))
		r := o.relay("r")
		r.pass(n-10, 3, 7)
		o.retain(time.Hour, fmt.Sprintf("1-%d", n))
		o.retain(0, fmt.Sprintf("3,7,%d-%d", n-9, n))
		r.unpark(3)
		r.pass(10)
		o.retain(0, "7")
	})
}

// A cursor of a flagged table is no cursor of the other outbox in the same database.
func TestModesBesideEachOther(t *testing.T) {
	t.Parallel()
	outboxes(t, true, func(o *outbox) {
		o.publish(5)
		o.relay("flagged").pass(3)
		published := func() (n int) {
			o.t.Helper()
			o.must(o.db.QueryRow(`SELECT count(*) FROM ` + o.prefix + `outbox_status WHERE is_published`).Scan(&n))
			return n
		}
		if n := published(); n != 0 {
			o.t.Errorf("%d are published", n)
		}
	})
	outboxes(t, false, func(o *outbox) {
		exec(o.t, o.db, `INSERT INTO `+o.prefix+`cursor (relay, epoch, position) VALUES ('flagged', 1, 'flagged 1')`)
		o.publish(5)
		o.relay("r").pass(5)
		var n int
		o.must(o.db.QueryRow(`SELECT count(*) FROM ` + o.prefix + `outbox_status WHERE is_published`).Scan(&n))
		if n != 5 {
			o.t.Errorf("%d are published, want 5", n)
		}
		o.retain(0, "")
	})
}

// The age is told by the database's clock; the sessions of PostgreSQL live in another time zone.
func TestRetentionGoesByTheAgeOfEachRow(t *testing.T) {
	t.Parallel()
	outboxes(t, false, func(o *outbox) {
		o.publish(10)
		o.relay("r").pass(10)
		ago := map[string]string{"postgres": `clock_timestamp() - %d * interval '1 minute'`, "sqlite": `CAST(unixepoch('subsec') * 1000000 AS INTEGER) - %d * 60000000`}[o.d.Name()]
		for pos, minutes := range []int{1: 59, 61, 59, 10_000, 61, 0, -500, 61} {
			exec(o.t, o.db, fmt.Sprintf(`UPDATE %s SET created_at = `+ago+` WHERE pos = %d`, o.table, minutes, pos))
		}
		o.retain(time.Hour, "1,3,6-7,9-10")
	})
}

// A column without a time zone is read as the reader reads it: as UTC.
func TestRetentionOfAColumnWithoutATimeZone(t *testing.T) {
	t.Parallel()
	_, open := postgresDatabase(t)
	db := open(t)
	exec(t, db, `CREATE TABLE events (pos serial PRIMARY KEY, id text, at timestamp DEFAULT timezone('UTC', now()), is_published boolean NOT NULL DEFAULT true)`)
	exec(t, db, `INSERT INTO events (at) VALUES (DEFAULT), (timezone('UTC', now()) - interval '61 minutes'), (NULL), (DEFAULT)`)
	none := flagged.Columns{CreatedAt: "at", Payload: "id", Key: flagged.None, ContentType: flagged.None, Headers: flagged.None, Time: flagged.None}
	src := newFlagged(t, db, dialect.Postgres, flagged.Config{Table: "events", Columns: none, Topic: "t", Type: "t"})
	done, err := src.Retain(t.Context(), time.Hour)
	if err != nil || done.Deleted != 1 {
		t.Errorf("%d rows deleted, %v, want 1", done.Deleted, err)
	}
	none.CreatedAt = flagged.None
	if _, err = newFlagged(t, db, dialect.Postgres, flagged.Config{Table: "events", Columns: none, Topic: "t", Type: "t"}).Retain(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "WB1405") {
		t.Errorf("without a time: %v", err)
	}
}

// A transaction that drew its number early and commits late is behind no cursor until it is read.
func TestRetentionLeavesALateTransactionUntilItIsPassed(t *testing.T) {
	t.Parallel()
	outboxes(t, false, func(o *outbox) {
		if o.d.Name() == dialect.SQLite.Name() {
			return // one writer at a time: numbers are drawn in the order of commits
		}
		late := begin(o.t, o.db, o.d, o.table)
		late.Publish(message("late"))
		o.publish(9)
		r := o.relay("r")
		r.pass(9)
		o.retain(0, "")
		late.Commit()
		o.retain(0, "1", "r")
		r.pass(1)
		o.retain(0, "")
	})
}

func TestRetentionInManyProcessesAtOnce(t *testing.T) {
	t.Parallel()
	for _, withFlag := range []bool{false, true} {
		outboxes(t, withFlag, func(o *outbox) {
			n := 10 * o.chunk
			o.publish(n)
			o.relay("r").pass(n, 5)
			var deleted atomic.Int64
			var all sync.WaitGroup
			for range 4 {
				src := o.open()
				all.Go(func() {
					done, err := src.Retain(o.t.Context(), 0)
					if err != nil {
						o.t.Error(err)
					}
					deleted.Add(done.Deleted)
				})
			}
			all.Wait()
			if left := o.left(); left != "5" || deleted.Load() != int64(n-1) {
				o.t.Errorf("%s are left, %d were deleted, want 5 and %d", left, deleted.Load(), n-1)
			}
		})
	}
}
