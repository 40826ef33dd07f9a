package waybilltest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
)

// patience bounds every wait of the suites for sources and stores: longer than anything healthy takes on a loaded machine.
const patience = 60 * time.Second

// SourceAbility is something that not every database, or not every harness, can do.
type SourceAbility string

// The abilities.
const (
	Overlap    SourceAbility = "overlap"    // several transactions may write at once
	Savepoints SourceAbility = "savepoints" // the Transaction is a Savepointer
	Crash      SourceAbility = "crash"      // the harness can crash the database
)

// SourceHarness is one empty log for one case of the suite.
type SourceHarness struct {
	// Open returns a new source with its store, as another process would make them.
	Open func(t *testing.T) (relay.Source, relay.Store)
	// Begin starts a transaction of the application.
	Begin func(t *testing.T) Transaction
	// BeginLazy starts one whose commit does not wait for the disk. Defaults to Begin.
	BeginLazy func(t *testing.T) Transaction
	// Crash ends the database without a chance to write anything, and starts it again.
	Crash func(t *testing.T)
	// Lacks names what cannot be done, and why. The suite skips those cases by name.
	Lacks map[SourceAbility]string
}

// Transaction is a transaction of the application. A failure fails the test.
type Transaction interface {
	Publish(messages ...waybill.Message)
	Commit()
	Rollback()
}

// Savepointer is a Transaction with one savepoint at a time.
type Savepointer interface {
	Savepoint()
	RollbackTo()
}

// TestSource shows that a source keeps the contract of relay.Source with a real database. newHarness is called once a case.
func TestSource(t *testing.T, newHarness func(t *testing.T) SourceHarness) {
	cases := []struct {
		name  string
		needs SourceAbility
		run   func(*sourceCase)
	}{
		{"a transaction that rolled back never appears", "", (*sourceCase).rolledBack},
		{"what a savepoint took back never appears", Savepoints, (*sourceCase).savepoint},
		{"an open transaction does not appear", Overlap, (*sourceCase).open},
		{"a key keeps commit order", "", (*sourceCase).commitOrder},
		{"a key keeps commit order beside an open transaction", Overlap, (*sourceCase).besideOpen},
		{"a key keeps commit order when the later publisher began first", Overlap, (*sourceCase).beganFirst},
		{"what was not saved comes again", "", (*sourceCase).comesAgain},
		{"what was saved never comes again", "", (*sourceCase).neverAgain},
		{"a position counts only when it is saved", "", (*sourceCase).countsWhenSaved},
		{"saves beside reads bring nothing twice", "", (*sourceCase).savesBeside},
		{"a batch has at most the messages of its budget", "", (*sourceCase).budgetMessages},
		{"a batch ends at the bytes of its budget", "", (*sourceCase).budgetBytes},
		{"everything of a message survives", "", (*sourceCase).survives},
		{"a large transaction arrives whole and in order", "", (*sourceCase).large},
		{"reading waits for a commit", "", (*sourceCase).waits},
		{"waking makes a waiting reader look", "", (*sourceCase).wakes},
		{"a reader is usable after the end of a context", "", (*sourceCase).usable},
		{"pos grows within a key and is never given twice", "", (*sourceCase).posGrows},
		{"closing ends a reader that waits", "", (*sourceCase).closes},
		{"a range gives exactly what was read between two saved positions, of its topic", "", (*sourceCase).ranges},
		{"a range that was left is gone on with at the position of its branch", "", (*sourceCase).rangeGoesOn},
		{"a range and its branch survive a crash", Crash, (*sourceCase).rangeSurvivesCrash},
		{"a crash loses no committed message and no durable save", Crash, (*sourceCase).survivesCrash},
		{"what was read survives a crash", Crash, (*sourceCase).readIsDurable},
		{"no goroutine is left behind", "", (*sourceCase).leavesNoGoroutine},
	}
	for _, of := range cases {
		t.Run(of.name, func(t *testing.T) {
			c := &sourceCase{SourceHarness: newHarness(t), t: t}
			if why, lacks := c.Lacks[of.needs]; lacks {
				t.Skipf("%s: %s", of.needs, why)
			}
			if c.BeginLazy == nil {
				c.BeginLazy = c.Begin
			}
			c.reopen()
			of.run(c)
			c.close()
		})
	}
}

// sourceCase is one run of one case: one relay that reads, and whose process can be replaced.
type sourceCase struct {
	SourceHarness
	t *testing.T

	keep   bool // reopen with the same source, as a relay does after an error
	source relay.Source
	store  relay.Store
	lease  relay.Lease
	reader relay.Reader
	last   []got // what take returned last

	opened   relay.Source // that of reader
	branches []relay.Branch
	made     int // messages of live
}

// got is a message with the position behind it.
type got struct {
	relay.Message
	behind func() relay.Position
}

// reopen starts where the store says, in a new process as it were, or with keep in the same one.
func (c *sourceCase) reopen() {
	c.t.Helper()
	c.close()
	ctx := c.within(patience)
	for { // after a crash the database needs a moment
		source, store := c.source, c.store
		if source == nil {
			source, store = c.Open(c.t)
		}
		tenure, err := store.Acquire(ctx, relay.Claim{Relay: "suite", Owner: "suite", TTL: time.Hour})
		if err == nil {
			var reader relay.Reader
			if reader, err = source.Open(ctx, tenure.Position); err == nil {
				c.store, c.lease, c.reader, c.opened, c.branches = store, tenure.Lease, reader, source, tenure.Branches
				if c.keep {
					c.source = source
				}
				return
			}
		}
		if ctx.Err() != nil || relay.IsFatal(err) {
			c.t.Fatalf("open: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (c *sourceCase) close() {
	if c.reader != nil {
		if err := c.reader.Close(); err != nil {
			c.t.Errorf("close: %v", err)
		}
	}
	c.reader = nil
}

func (c *sourceCase) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), d)
	c.t.Cleanup(cancel)
	return ctx
}

// message is one with a given key and a payload that says which it is.
func message(key, what string) waybill.Message {
	return waybill.Message{ID: fmt.Sprintf("%s-%s", key, what), Topic: "topic", Key: key, Type: "type", Payload: []byte(what)}
}

func (c *sourceCase) commit(messages ...waybill.Message) {
	c.t.Helper()
	tx := c.Begin(c.t)
	tx.Publish(messages...)
	tx.Commit()
}

var wide = relay.Budget{Messages: 1000, Bytes: 1 << 30}

func (c *sourceCase) read(budget relay.Budget) []got {
	c.t.Helper()
	batch, err := c.reader.Read(c.within(patience), budget)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	list := make([]got, len(batch.Messages))
	for i, m := range batch.Messages {
		list[i] = got{m, func() relay.Position { return batch.Position(i + 1) }}
	}
	return list
}

// take reads exactly n messages.
func (c *sourceCase) take(n int) []got {
	c.t.Helper()
	c.last = nil
	for len(c.last) < n {
		c.last = append(c.last, c.read(wide)...)
	}
	if len(c.last) > n {
		c.t.Fatalf("read %d messages, want %d: %s", len(c.last), n, texts(c.last))
	}
	return c.last
}

// save marks the first n of what take returned as done.
func (c *sourceCase) save(n int, durable bool) {
	c.t.Helper()
	save := relay.Save{Position: c.last[n-1].behind(), Durable: durable}
	for i := range c.last[:n] {
		save.Published = append(save.Published, &c.last[i].Message)
	}
	if err := c.store.Save(c.within(patience), c.lease, save); err != nil {
		c.t.Fatalf("save: %v", err)
	}
}

func texts(list []got) []string {
	out := make([]string, len(list))
	for i, m := range list {
		out[i] = m.ID
	}
	return out
}

// want takes as many messages as ids has, and compares the order within each key.
func (c *sourceCase) want(ids ...string) {
	c.t.Helper()
	have := c.take(len(ids))
	byKey := func(list []string) []string {
		slices.SortStableFunc(list, func(a, b string) int { return int(a[0]) - int(b[0]) }) // the suite's keys are letters
		return list
	}
	if have, want := byKey(texts(have)), byKey(slices.Clone(ids)); !slices.Equal(have, want) {
		c.t.Fatalf("read %s, want %s", have, want)
	}
}
