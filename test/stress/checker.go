// Package stress drives real databases with an adversarial load and checks what a relay made of it.
package stress

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Business is what the service itself recorded, in the transactions that published: key k has the versions 1..n[k],
// each one published once, and rolled-back attempts leave no trace.
type Business struct {
	Versions map[string]int
	IDs      map[string]bool // of all messages
}

// Observer records what reaches the broker, in order.
type Observer struct {
	mu    sync.Mutex
	seen  map[string]int   // copies by id
	order map[string][]int // first copies' versions by key
	last  map[string]int   // newest copy's version by key
}

// NewObserver returns an empty observer.
func NewObserver() *Observer {
	return &Observer{seen: map[string]int{}, order: map[string][]int{}, last: map[string]int{}}
}

// See takes one copy. The payload is key/version.
func (o *Observer) See(id string, payload []byte) {
	key, version, _ := strings.Cut(string(payload), "/")
	n, _ := strconv.Atoi(version)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[id]++
	o.last[key] = n
	if o.seen[id] == 1 {
		o.order[key] = append(o.order[key], n)
	}
}

// Count is the number of different messages seen.
func (o *Observer) Count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.seen)
}

// Verdict compares what was seen with what was committed.
type Verdict struct {
	Committed, Seen, Lost, Phantom, Inversions, Duplicates int
	Stale                                                  int    // keys whose last copy is not of their last version
	First                                                  string // the first violation, for people
}

func (v Verdict) String() string {
	return fmt.Sprintf("%d committed, %d seen, %d lost, %d phantoms, %d inversions, %d duplicates, %d stale %s",
		v.Committed, v.Seen, v.Lost, v.Phantom, v.Inversions, v.Duplicates, v.Stale, v.First)
}

// OK tells whether nothing was lost, invented or turned round.
func (v Verdict) OK() bool { return v.Lost+v.Phantom+v.Inversions == 0 }

// Check takes linear time.
func (o *Observer) Check(b Business) Verdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	var v Verdict
	note := func(format string, args ...any) {
		if v.First == "" {
			v.First = "first: " + fmt.Sprintf(format, args...)
		}
	}
	for id, copies := range o.seen {
		v.Seen++
		v.Duplicates += copies - 1
		if !b.IDs[id] {
			v.Phantom++
			note("message %s was never committed", id)
		}
	}
	for key, n := range b.Versions {
		v.Committed += n
		have := map[int]bool{}
		last := 0
		for _, version := range o.order[key] {
			have[version] = true
			if version < last {
				v.Inversions++
				note("key %s: version %d came after %d", key, version, last)
			}
			last = max(last, version)
		}
		if o.last[key] != n {
			v.Stale++
		}
		for version := 1; version <= n; version++ {
			if !have[version] {
				v.Lost++
				note("key %s: version %d of %d is lost", key, version, n)
			}
		}
	}
	return v
}
