package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/schema"
	"github.com/waybillhq/waybill/source/flagged"
)

// asking is a database in which messages are set aside and people ask.
type asking struct {
	t          *testing.T
	db         *sql.DB
	open       func(*testing.T) *sql.DB
	d          dialect.Dialect
	prefix     string
	begin, end relay.Position // of a cursor: behind nothing, and behind all that is in the outbox now
}

func (a *asking) store() *sqlstore.Store {
	if a.d == dialect.SQLite {
		return sqlstore.SQLite(a.open(a.t))
	}
	return sqlstore.Postgres(a.open(a.t))
}

// publish writes messages into the outbox and returns them as they are set aside: all of the key k, pos from 1.
func (a *asking) publish(table string, ids ...string) (aside []relay.Parked) {
	a.t.Helper()
	tx := begin(a.t, a.db, a.d, table)
	for i, id := range ids {
		m := message(id)
		m.Headers = []waybill.Header{{Name: "a", Value: "1"}}
		tx.Publish(m)
		aside = append(aside, relay.Parked{Message: relay.Message{Message: m, Pos: int64(i + 1), Incarnation: 1}, Lane: "=k", State: relay.StateParked, Attempts: 1, Error: "bad"})
	}
	tx.Commit()
	if a.d == dialect.Postgres {
		a.begin = "3:3:"
		var now string
		if err := a.db.QueryRow(`SELECT pg_current_snapshot()::text`).Scan(&now); err != nil {
			a.t.Fatal(err)
		}
		a.end = relay.Position(now)
	} else {
		a.begin, a.end = "0", relay.Position(fmt.Sprint(len(ids)))
	}
	return aside
}

func (a *asking) save(store relay.Store, lease relay.Lease, s relay.Save) {
	a.t.Helper()
	if err := store.Save(a.t.Context(), lease, s); err != nil {
		a.t.Fatal(err)
	}
}

func (a *asking) ask(request string, edits map[int64]string, positions ...int64) sqlstore.Asked {
	a.t.Helper()
	asked, err := a.store().Ask(a.t.Context(), "r", "me", request, positions, edits)
	if err != nil {
		a.t.Fatal(err)
	}
	return asked
}

func (a *asking) held(store relay.Store, lease relay.Lease) (ids string) {
	a.t.Helper()
	list, err := store.Held(a.t.Context(), lease, "=k", 10)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, p := range list {
		ids += p.ID
	}
	return ids
}

func (a *asking) text(query string) (text string) {
	a.t.Helper()
	if err := a.db.QueryRow(query).Scan(&text); err != nil {
		a.t.Fatal(err)
	}
	return text
}

// audited is every action as who action:id.
func (a *asking) audited() (list string) {
	a.t.Helper()
	history, err := a.store().History(a.t.Context(), "r", []int64{1, 2, 3, 4}, 0, true)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, h := range history {
		list += h.Who + " " + h.Action + ":" + h.ID + ";"
		if strings.Contains(h.Before, "payload") != (h.Action != sqlstore.Retry) || h.Attempts != 1 || h.Error != "bad" {
			a.t.Errorf("%s of %s keeps %+v", h.Action, h.ID, h)
		}
	}
	return list
}

func onEachDatabase(t *testing.T, run func(t *testing.T, a *asking)) {
	t.Parallel()
	for _, d := range []dialect.Dialect{dialect.Postgres, dialect.SQLite} {
		t.Run(d.Name(), func(t *testing.T) {
			t.Parallel()
			a := &asking{t: t, d: d, prefix: "waybill_"}
			if d == dialect.Postgres {
				_, a.open = postgresDatabase(t)
				a.prefix = "waybill."
			} else {
				a.open = sqliteFile(t)
			}
			a.db = a.open(t)
			run(t, a)
		})
	}
}

func TestWhatPeopleAskIsDoneByTheNextTakeoverAndOnce(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, a *asking) {
		aside := a.publish("", "a", "b", "c", "d")
		store := a.store()
		lease := acquire(t, store, "owner").Lease
		a.save(store, lease, relay.Save{Position: a.end, Park: aside})
		from := aside[1].Message.Message
		to := from
		to.Payload, to.Topic, to.ContentType, to.Headers = []byte("mended\x00"), "other", "text/plain", []waybill.Header{{Name: "b", Value: `<"\`}}
		tombstone := aside[3].Message.Message
		tombstone.Payload, tombstone.Headers = nil, nil
		a.ask(sqlstore.Retry, nil, 1)
		a.ask(sqlstore.Edit, map[int64]string{2: sqlstore.Edited(from, to), 4: sqlstore.Edited(aside[3].Message.Message, tombstone)}, 2, 4)
		if asked := a.ask(sqlstore.Discard, nil, 3); asked.Owner != "owner" {
			t.Errorf("asked of %+v", asked)
		}
		if asked, err := store.Renew(t.Context(), lease, time.Hour); err != nil || !asked {
			t.Errorf("the owner's renewal says %v, %v", asked, err)
		}
		if ids := a.held(store, lease); ids != "" {
			t.Errorf("held under a running owner: %s", ids)
		}

		// A process that dies in the middle of the takeover has done nothing.
		ctx, cancel := context.WithCancel(t.Context())
		died := a.store()
		died.Mark = func(context.Context, sqlstore.Querier, []*relay.Message) error { cancel(); return ctx.Err() }
		if _, err := died.Acquire(ctx, relay.Claim{Relay: "r", Owner: "owner", TTL: time.Hour}); err == nil {
			t.Fatal("acquired")
		}
		if audit := a.audited(); audit != "" {
			t.Errorf("audited: %s", audit)
		}

		for range 2 { // the second has nothing to do
			store = a.store()
			tenure := acquire(t, store, "owner")
			if len(tenure.Held) != 1 || tenure.Held[0] != "=k" || tenure.Position != a.end {
				t.Errorf("the new tenure begins with %+v", tenure)
			}
			if ids := a.held(store, tenure.Lease); ids != "abd" {
				t.Errorf("held: %s", ids)
			}
			if asked, err := store.Renew(t.Context(), tenure.Lease, time.Hour); err != nil || asked {
				t.Errorf("the renewal afterwards says %v, %v", asked, err)
			}
			if audit := a.audited(); audit != "me retry:a;me edit:b;me discard:c;me edit:d;" {
				t.Errorf("audited: %s", audit)
			}
		}
		for pos, want := range map[int64]waybill.Message{1: aside[0].Message.Message, 2: to, 4: tombstone} {
			w, err := store.WholeAside(t.Context(), "r", pos)
			got := waybill.Message{ID: w.ID, Topic: w.Topic, Key: w.Key, Type: w.Type, ContentType: w.ContentType, Headers: w.Headers, Payload: w.Payload}
			if err != nil || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) || w.Attempts != 1 || w.Request != "" || w.Edit != "" {
				t.Errorf("pos %d is %+v, %v", pos, w, err)
			}
		}
		var before struct{ Topic, Payload, Headers string }
		if err := json.Unmarshal([]byte(a.text(`SELECT before FROM `+a.prefix+`audit WHERE id = 'b'`)), &before); err != nil ||
			before.Topic != "topic" || before.Payload != "62" || before.Headers != `[["a","1"]]` {
			t.Errorf("kept of b: %+v, %v", before, err)
		}
		if _, err := store.WholeAside(t.Context(), "r", 3); !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("the discarded message: %v", err)
		}
	})
}

// After a crash the cursor may stand before a message that is set aside: it will be read again, and would come back after it
// was discarded, or as it was before the edit.
func TestARequestWaitsUntilTheCursorHasPassedItsMessage(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, a *asking) {
		aside := a.publish("", "a", "b")
		store := a.store()
		lease := acquire(t, store, "owner").Lease
		a.save(store, lease, relay.Save{Position: a.begin, Park: aside})
		a.ask(sqlstore.Discard, nil, 1, 2)
		lease = acquire(t, store, "owner").Lease
		if audit := a.audited(); audit != "" {
			t.Errorf("done too early: %s", audit)
		}
		if asked, err := store.Renew(t.Context(), lease, time.Hour); err != nil || !asked {
			t.Errorf("it is forgotten: %v, %v", asked, err)
		}
		// A branch of their topic stands where the cursor stood; what waits for it does not end one tenure after another.
		exec(t, a.db, `INSERT INTO `+a.prefix+`cursor (relay, branch, epoch, position) VALUES ('r', 'topic', 1, '`+string(a.begin)+`')`)
		a.save(store, lease, relay.Save{Position: a.end})
		lease = acquire(t, store, "owner").Lease
		if asked, err := store.Renew(t.Context(), lease, time.Hour); a.audited() != "" || err != nil || asked {
			t.Errorf("audited %q, asked again %v, %v", a.audited(), asked, err)
		}
		a.save(store, lease, relay.Save{Merged: []string{"topic"}})
		if asked, err := store.Renew(t.Context(), lease, time.Hour); err != nil || !asked {
			t.Errorf("forgotten when the topic waits no more: %v, %v", asked, err)
		}
		acquire(t, store, "owner")
		if audit := a.audited(); audit != "me discard:a;me discard:b;" {
			t.Errorf("audited: %s", audit)
		}
	})
}

func TestWhatIsDiscardedInFlaggedModeIsNotReadAgain(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, a *asking) {
		aside := a.publish(a.prefix+"outbox_flagged", "a", "b")
		src := newFlagged(t, a.db, a.d, flagged.Config{})
		lease := acquire(t, src, "owner").Lease
		a.save(src, lease, relay.Save{Position: "flagged 2", Park: aside})
		a.ask(sqlstore.Discard, nil, 1)
		a.ask(sqlstore.Retry, nil, 2)
		tenure := acquire(t, src, "owner")
		if got := a.text(`SELECT max(id) FROM ` + a.prefix + `outbox_flagged WHERE is_published`); got != "a" {
			t.Errorf("marked: %s", got)
		}
		reader, err := src.Open(t.Context(), tenure.Position)
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		held, err := src.Held(t.Context(), tenure.Lease, "=k", 10)
		if err != nil || len(held) != 1 || held[0].ID != "b" {
			t.Fatalf("held: %+v, %v", held, err)
		}
		a.save(src, tenure.Lease, relay.Save{Unpark: held, Published: []*relay.Message{&held[0].Message}})
		tx := begin(t, a.db, a.d, a.prefix+"outbox_flagged")
		tx.Publish(message("c"))
		tx.Commit()
		batch, err := reader.Read(t.Context(), relay.Budget{Messages: 10, Bytes: 1000})
		if err != nil || len(batch.Messages) != 1 || batch.Messages[0].ID != "c" {
			t.Errorf("read %+v, %v", batch.Messages, err)
		}
	})
}

func TestARetryDoesNotForgetAnEditThatWaits(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, a *asking) {
		aside := a.publish("", "a")
		store := a.store()
		lease := acquire(t, store, "owner").Lease
		a.save(store, lease, relay.Save{Position: a.end, Park: aside})
		to := aside[0].Message.Message
		to.Payload = []byte("mended")
		a.ask(sqlstore.Edit, map[int64]string{1: sqlstore.Edited(aside[0].Message.Message, to)}, 1)
		a.ask(sqlstore.Retry, nil, 1)
		acquire(t, store, "owner")
		if w, err := store.WholeAside(t.Context(), "r", 1); err != nil || string(w.Payload) != "mended" {
			t.Errorf("%+v, %v", w, err)
		}
	})
}

// So many rows go through several statements; a takeover that has little time does a part, and asks for another one.
func TestManyRequestsAreDoneAndNoneKeepsATakeover(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, a *asking) {
		var ids []string
		var positions []int64
		for i := range 250 {
			ids, positions = append(ids, fmt.Sprint("m", i)), append(positions, int64(i+1))
		}
		aside := a.publish("", ids...)
		store := a.store()
		lease := acquire(t, store, "owner").Lease
		a.save(store, lease, relay.Save{Position: a.end, Park: aside})
		a.ask(sqlstore.Discard, nil, positions...)
		left := func() string {
			return a.text(`SELECT count(*) FROM ` + a.prefix + `parked`)
		}
		tenure, err := store.Acquire(t.Context(), relay.Claim{Relay: "r", Owner: "owner", TTL: time.Microsecond})
		if err != nil || left() != "150" {
			t.Fatalf("%v; %s are left", err, left())
		}
		if asked, err := store.Renew(t.Context(), tenure.Lease, time.Hour); err != nil || !asked {
			t.Errorf("the rest is forgotten: %v, %v", asked, err)
		}
		acquire(t, store, "owner")
		if n := a.text(`SELECT count(*) FROM ` + a.prefix + `audit WHERE action = 'discard'`); left() != "0" || n != "250" {
			t.Errorf("%s are left, %s noted", left(), n)
		}
	})
}

func TestTheRelayRoleIsEnoughForRequests(t *testing.T) {
	t.Parallel()
	dsn, open := postgresDatabase(t)
	if err := schema.ApplyRoles(t.Context(), open(t), dialect.Postgres); err != nil {
		t.Fatal(err)
	}
	a := &asking{t: t, db: open(t), d: dialect.Postgres, prefix: "waybill.", open: func(t *testing.T) *sql.DB { return openDB(t, "pgx", dsn+"&options=-c%20role%3Dwaybill_relay") }}
	aside := a.publish("waybill.outbox_flagged", "a", "b", "c")
	src := newFlagged(t, a.open(t), a.d, flagged.Config{})
	lease := acquire(t, src, "owner").Lease
	a.save(src, lease, relay.Save{Position: "flagged 3", Park: aside})
	to := aside[0].Message.Message
	to.Payload = nil
	a.ask(sqlstore.Edit, map[int64]string{1: sqlstore.Edited(aside[0].Message.Message, to)}, 1)
	a.ask(sqlstore.Discard, nil, 2)
	a.ask(sqlstore.Retry, nil, 3)
	acquire(t, src, "owner")
	if audit := a.audited(); audit != "me edit:a;me discard:b;me retry:c;" {
		t.Errorf("audited: %s", audit)
	}
}

// A save and a request change the same rows in other orders. If they waited for each other, the server would break off one, and a
// save that fails costs the tenure and duplicates.
func TestASaveAndARequestNeverBlockEachOther(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, a *asking) {
		var ids []string
		var positions []int64
		for i := range 40 {
			ids, positions = append(ids, fmt.Sprint("m", i)), append(positions, int64(i+1))
		}
		aside := a.publish("", ids...)
		owner, person := a.store(), a.store()
		lease := acquire(t, owner, "owner").Lease
		a.save(owner, lease, relay.Save{Position: a.end, Park: aside})
		saved := make(chan error, 1)
		go func() {
			var err error
			for n := 0; n < 60 && err == nil; n++ {
				save := relay.Save{Retried: slices.Clone(aside)}
				slices.Reverse(save.Retried)
				err = owner.Save(context.Background(), lease, save)
			}
			saved <- err
		}()
		for range 60 {
			if _, err := person.Ask(t.Context(), "r", "me", sqlstore.Retry, positions, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-saved; err != nil {
			t.Error(err)
		}
	})
}
