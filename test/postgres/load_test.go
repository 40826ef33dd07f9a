package postgres

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
)

// load is an application that publishes to some keys, each message of a key once and in order, whatever becomes of the server.
type load struct {
	s    *scene
	stop chan struct{}
	wg   sync.WaitGroup
	mu   sync.Mutex
	n    map[string]int // committed, by key
}

func (s *scene) load(keys int) *load {
	l := &load{s: s, stop: make(chan struct{}), n: map[string]int{}}
	for k := range keys {
		l.wg.Go(func() { l.publish(fmt.Sprintf("k%d", k)) })
	}
	s.t.Cleanup(func() { l.end() })
	return l
}

func (l *load) publish(key string) {
	for n := 1; ; n++ {
		for !l.one(key, n) {
			select {
			case <-l.stop:
				return
			case <-time.After(time.Millisecond): // the server is away
			}
		}
		l.mu.Lock()
		l.n[key] = n
		l.mu.Unlock()
		select {
		case <-l.stop:
			return
		case <-time.After(5 * time.Millisecond): // the pace of the load
		}
	}
}

// one publishes a message of a key, and tells whether it is committed: after an error only the table knows.
func (l *load) one(key string, n int) bool {
	id := fmt.Sprintf("%s-%d", key, n)
	var there bool
	if err := l.s.db.QueryRow(`SELECT EXISTS (SELECT FROM waybill.outbox WHERE id = $1 AND pos > (SELECT coalesce(max(pos), 0) - 10000 FROM waybill.outbox))`, id).Scan(&there); err != nil || there {
		return there
	}
	tx, err := l.s.db.Begin()
	if err != nil {
		return false
	}
	defer tx.Rollback()
	err = l.s.outbox.Publish(l.s.t.Context(), waybill.SQL(tx), waybill.Message{ID: id, Topic: "orders", Key: key, Type: "order.changed"})
	return err == nil && tx.Commit() == nil
}

// end stops the load.
func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.wg.Wait()
}

func (l *load) total() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.n {
		n += k
	}
	return n
}

// check compares what arrived with what was committed, once the load has ended: nothing is lost, first copies keep each key's
// order, and there are at most so many duplicates.
func (l *load) check(t *testing.T, duplicates int, ids func() []string) {
	t.Helper()
	var have []string
	within(t, "everything to arrive", func() bool {
		have = ids()
		seen := map[string]bool{}
		for _, id := range have {
			seen[id] = true
		}
		return len(seen) >= l.total()
	})
	last, copies := map[string]int{}, 0
	for _, id := range have {
		key, number, _ := strings.Cut(id, "-")
		n, _ := strconv.Atoi(number)
		switch {
		case n <= last[key]:
			copies++
		case n != last[key]+1:
			t.Errorf("message %s came behind %d", id, last[key])
			fallthrough
		default:
			last[key] = n
		}
	}
	for key, n := range l.n {
		if last[key] != n {
			t.Errorf("key %s: %d of %d messages arrived", key, last[key], n)
		}
	}
	t.Logf("%d messages, %d duplicates", l.total(), copies)
	if copies > duplicates {
		t.Errorf("%d duplicates, at most %d allowed", copies, duplicates)
	}
}
