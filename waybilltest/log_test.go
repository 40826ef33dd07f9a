package waybilltest

import (
	"testing"
	"testing/synctest"

	"github.com/waybillhq/waybill/relay"
)

func logSource(*testing.T) SourceHarness {
	l := NewLog()
	return SourceHarness{
		Open:  func(*testing.T) (relay.Source, relay.Store) { return l, l },
		Begin: func(*testing.T) Transaction { return l.Begin() },
		Crash: func(*testing.T) { l.Crash() },
	}
}

func logStore(*testing.T) StoreHarness {
	l := NewLog()
	return StoreHarness{Open: func(*testing.T) relay.Store { return l }}
}

func TestTheLogInMemoryKeepsTheContract(t *testing.T) {
	t.Run("source", func(t *testing.T) { TestSource(t, logSource) })
	t.Run("store", func(t *testing.T) { TestStore(t, logStore) })
}

func TestTheLogInMemoryNeedsNoRealTime(t *testing.T) {
	for _, of := range []struct {
		name string
		run  func(*storeCase)
	}{{"lease", (*storeCase).runsOut}, {"renewal", (*storeCase).renews}} {
		t.Run(of.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &storeCase{StoreHarness: logStore(t), t: t}
				c.store, c.other = c.Open(t), c.Open(t)
				of.run(c)
			})
		})
	}
	t.Run("reading", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &sourceCase{SourceHarness: logSource(t), t: t}
			c.reopen()
			c.usable()
			c.waits()
			c.close()
		})
	})
}

func TestACrashOfTheLogInMemoryUndoesTheSavesThatWereNotDurable(t *testing.T) {
	c := &sourceCase{SourceHarness: logSource(t), t: t}
	c.reopen()
	c.commit(message("a", "1"), message("a", "2"), message("a", "3"))
	c.take(3)
	c.save(1, true)
	c.save(2, false)
	c.Crash(t)
	c.reopen()
	c.want("a-2", "a-3")
	c.close()
}
