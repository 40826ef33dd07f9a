package waybill

import (
	"regexp"
	"sync"
	"testing"
	"time"
)

func TestIDsAreUUIDsOfVersion7OfThisMoment(t *testing.T) {
	t.Parallel()
	var m idMaker
	before := time.Now().UnixMilli()
	id := m.next()
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("%s is no UUIDv7", id)
	}
	var ms int64
	for _, c := range id[:8] + id[9:13] {
		ms = ms<<4 | int64(hexValue(c))
	}
	if ms < before || ms > time.Now().UnixMilli()+1 {
		t.Errorf("%s is of %v", id, time.UnixMilli(ms))
	}
}

func hexValue(c rune) rune {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

func TestIDsGrowEvenWhenTheClockGoesBack(t *testing.T) {
	t.Parallel()
	var m idMaker
	m.last.Store(uint64(time.Now().Add(time.Hour).UnixMilli()) << 12) // as an hour later had seen it
	last := m.next()
	for range 10_000 {
		id := m.next()
		if id <= last {
			t.Fatalf("%s came after %s", id, last)
		}
		last = id
	}
}

func TestIDsOfManyGoroutinesAreUnique(t *testing.T) {
	t.Parallel()
	var m idMaker
	var seen sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5_000 {
				if _, twice := seen.LoadOrStore(m.next(), true); twice {
					t.Error("an id came twice")
				}
			}
		})
	}
	wg.Wait()
}
