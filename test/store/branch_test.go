package store

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
)

// branch saves where a topic waits, or that it waits no more.
func (r *running) branch(topic string, at relay.Position) {
	r.o.t.Helper()
	r.o.must(r.src.Save(r.o.t.Context(), r.tenure.Lease, relay.Save{Branches: []relay.Branch{{Topic: topic, Position: at, Error: "no such topic"}}}))
}

func (r *running) merge(topic string) {
	r.o.t.Helper()
	r.o.must(r.src.Save(r.o.t.Context(), r.tenure.Lease, relay.Save{Merged: []string{topic}}))
}

// position is the cursor that the relay has saved.
func (r *running) position() (p relay.Position) {
	r.o.t.Helper()
	r.o.must(r.o.db.QueryRow(`SELECT position FROM ` + r.o.prefix + `cursor WHERE branch = '' AND relay = '` + r.tenure.Lease.Relay + `'`).Scan(&p))
	return p
}

func TestRetentionRespectsBranches(t *testing.T) {
	t.Parallel()
	outboxes(t, false, func(o *outbox) {
		o.publish(4)
		r := o.relay("r")
		r.pass(4)
		at := r.position()
		n := o.chunk + 6
		o.publish(n - 4)
		r.pass(n - 4)
		r.branch("waits", at)
		r.branch("new", "")
		o.relay("other").pass(n)
		o.retain(0, fmt.Sprintf("1-%d", n), "r")
		r.merge("new")
		o.retain(0, fmt.Sprintf("5-%d", n), "r")
		r.merge("waits")
		o.retain(0, "")
	})
}

// since is when a topic began to wait, and stays while its cursor moves; epoch is the owner's.
func TestABranchTellsSinceWhenItWaits(t *testing.T) {
	t.Parallel()
	outboxes(t, false, func(o *outbox) {
		r := o.relay("r")
		o.publish(3)
		r.pass(2)
		row := func() (since, position, text string, epoch int64) {
			o.t.Helper()
			o.must(o.db.QueryRow(`SELECT CAST(since AS text), position, error, epoch FROM `+o.prefix+`cursor WHERE branch = 'topic'`).Scan(&since, &position, &text, &epoch))
			return since, position, text, epoch
		}
		r.branch("topic", "")
		since, _, text, _ := row()
		exec(o.t, o.db, `UPDATE `+o.prefix+`cursor SET epoch = 0 WHERE branch = 'topic'`)
		r.branch("topic", r.position())
		later, position, _, epoch := row()
		if since == "" || later != since || text != "no such topic" || position != string(r.position()) || epoch != r.tenure.Lease.Epoch {
			o.t.Errorf("since %s, then %s at %s with epoch %d: %s", since, later, position, epoch, text)
		}
		if tenure := o.relay("r").tenure; len(tenure.Branches) != 1 || tenure.Branches[0].Position != r.position() {
			o.t.Errorf("a new owner hears of %+v", tenure.Branches)
		} else if _, _, _, epoch = row(); epoch != tenure.Lease.Epoch {
			o.t.Errorf("the branch has epoch %d, its relay %d", epoch, tenure.Lease.Epoch)
		}
	})
}

// status is what people see of a row: published, waits, or null for a relay that does not publish its topic.
func (o *outbox) status(name string) map[int64]string {
	o.t.Helper()
	rows, err := o.db.Query(`SELECT pos, is_published FROM ` + o.prefix + `outbox_status WHERE relay = '` + name + `'`)
	o.must(err)
	defer rows.Close()
	list := map[int64]string{}
	for rows.Next() {
		var pos int64
		var published sql.NullBool
		o.must(rows.Scan(&pos, &published))
		list[pos] = map[sql.NullBool]string{{Bool: true, Valid: true}: "published", {Valid: true}: "waits", {}: "null"}[published]
	}
	o.must(rows.Err())
	return list
}

func TestOutboxStatusSaysNullForTopicsThatARelayDoesNotPublish(t *testing.T) {
	t.Parallel()
	topics := []string{"a_b", "axb", "a%b", "a[b]c", "abc", "a?b", `a\b`, `a\_b`, "a*b", "A_B", "ab", "orders", "orders.eu", "orders.eu.x", `"`, ""}
	claims := [][]string{nil, {"*"}, {"a_b"}, {"a%b"}, {"a[b]c"}, {"a[b-z]c"}, {"a?b"}, {`a\b`}, {`a\_b`}, {"a*"}, {"*b"}, {"orders.*"}, {"orders*"}, {"*.eu*"}, {"ab", `"`}, {"none"}, {"**"}}
	outboxes(t, false, func(o *outbox) {
		for _, topic := range topics {
			arg := map[dialect.Dialect]string{dialect.Postgres: "$1", dialect.SQLite: "?1"}[o.d]
			_, err := o.db.Exec(`INSERT INTO `+o.table+` (id, topic, type, payload) VALUES ('x', `+arg+`, 't', 'x')`, topic)
			o.must(err)
		}
		for i, patterns := range claims {
			name := fmt.Sprint("r", i)
			src := o.open()
			tenure, err := src.Acquire(o.t.Context(), relay.Claim{Relay: name, Owner: "test", TTL: time.Hour, Topics: patterns})
			o.must(err)
			reader, err := src.Open(o.t.Context(), tenure.Position)
			o.must(err)
			o.t.Cleanup(func() { reader.Close() })
			r := &running{o: o, src: src, tenure: tenure, reader: reader}
			for _, passed := range []string{"waits", "published"} {
				if passed == "published" {
					r.pass(len(topics))
				}
				matches, status := relay.TopicMatcher(patterns), o.status(name)
				for n, topic := range topics {
					want := "null"
					if matches(topic) {
						want = passed
					}
					if have := status[int64(n+1)]; have != want {
						o.t.Errorf("topics %q: a message of %q is %s, want %s", patterns, topic, have, want)
					}
				}
			}
		}
	})
}

func TestOutboxStatusRespectsBranches(t *testing.T) {
	t.Parallel()
	outboxes(t, false, func(o *outbox) {
		publish := func(topics ...string) {
			for _, topic := range topics {
				exec(o.t, o.db, `INSERT INTO `+o.table+` (id, topic, type, payload) VALUES ('x', '`+topic+`', 't', 'x')`)
			}
		}
		want := func(r *running, status ...string) {
			o.t.Helper()
			have := o.status(r.tenure.Lease.Relay)
			for i, s := range status {
				if have[int64(i+1)] != s {
					o.t.Errorf("%s: pos %d is %s, want %s", r.tenure.Lease.Relay, i+1, have[int64(i+1)], s)
				}
			}
		}
		r, other := o.relay("r"), o.relay("other")
		publish("w_its", "a")
		r.pass(2)
		at := r.position()
		publish("a", "w_its", "waits", "w_its")
		r.pass(4, 5)
		r.branch("w_its", at)
		publish("a", "w_its")
		want(r, "published", "published", "published", "waits", "waits", "waits", "waits", "waits")
		r.branch("w_its", r.position())
		want(r, "published", "published", "published", "published", "waits", "published", "waits", "waits")
		r.branch("w_its", "")
		want(r, "waits", "published", "published", "waits", "waits", "waits", "waits", "waits")
		r.pass(2)
		r.merge("w_its")
		r.unpark(5)
		want(r, "published", "published", "published", "published", "published", "published", "published", "published")
		want(other, "waits", "waits", "waits", "waits", "waits", "waits", "waits", "waits")
		other.branch("w_its", at) // ahead of its relay, which waits all the same for other topics
		want(other, "published", "waits", "waits", "waits", "waits", "waits", "waits", "waits")
	})
}

// The patterns are there for people, and go when the relay publishes every topic again.
func TestTheTopicsOfARelayAreKept(t *testing.T) {
	t.Parallel()
	outboxes(t, false, func(o *outbox) {
		for _, of := range []struct {
			topics []string
			want   string
		}{{[]string{"orders.*", "a"}, `["orders.*","a"]`}, {nil, "none"}, {[]string{"b"}, `["b"]`}, {[]string{}, "none"}} {
			_, err := o.open().Acquire(o.t.Context(), relay.Claim{Relay: "r", Owner: "test", TTL: time.Hour, Topics: of.topics})
			o.must(err)
			var have string
			o.must(o.db.QueryRow(`SELECT coalesce(topics, 'none') FROM ` + o.prefix + `cursor`).Scan(&have))
			if have != of.want {
				o.t.Errorf("%q became %s", of.topics, have)
			}
		}
	})
}

func TestMessagesSayWhenTheirRowsWereWritten(t *testing.T) {
	t.Parallel()
	for _, withFlag := range []bool{false, true} {
		outboxes(t, withFlag, func(o *outbox) {
			tx := begin(o.t, o.db, o.d, o.table)
			late := message("late")
			late.Time = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
			tx.Publish(message("now"), late)
			tx.Commit()
			ago := map[dialect.Dialect]string{dialect.Postgres: `clock_timestamp() - interval '90 minutes'`, dialect.SQLite: `created_at - 5400000000`}[o.d]
			exec(o.t, o.db, `UPDATE `+o.table+` SET created_at = `+ago)
			r := o.relay("r")
			for n := 0; n < 2; {
				batch, err := r.reader.Read(o.t.Context(), relay.Budget{Messages: 2, Bytes: 1000})
				o.must(err)
				for _, m := range batch.Messages {
					n++
					if age := time.Since(m.CreatedAt); age < time.Hour || age > 2*time.Hour {
						o.t.Errorf("%s was written %v ago, at %v", m.ID, age, m.CreatedAt)
					}
					if want := map[string]time.Time{"late": late.Time, "now": m.CreatedAt}[m.ID]; !m.Time.Equal(want) {
						o.t.Errorf("%s has time %v, want %v", m.ID, m.Time, want)
					}
				}
			}
		})
	}
}
