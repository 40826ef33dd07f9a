package snapshot

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
)

// table is a Session over transactions that overlap at random.
type table struct {
	rnd     *rand.Rand
	xid     uint64 // the next
	running []uint64
	clock   int // grows with each row and each commit
	rows    []row
	ended   map[uint64]int
	bounds  int // calls
}

type row struct {
	relay.Message
	xid  uint64
	made int
}

// write lets n things happen: a transaction begins, writes or commits.
func (t *table) write(n int) {
	for range n {
		t.clock++
		switch i := t.rnd.IntN(8); {
		case i == 0 || len(t.running) == 0:
			t.running = append(t.running, t.xid)
			t.xid++
		case i == 1:
			i := t.rnd.IntN(len(t.running))
			t.ended[t.running[i]] = t.clock
			t.running = slices.Delete(t.running, i, i+1)
		default:
			m := relay.Message{Message: waybill.Message{Topic: strconv.Itoa(t.rnd.IntN(3))}, Pos: int64(len(t.rows) + 1)}
			t.rows = append(t.rows, row{m, t.running[t.rnd.IntN(len(t.running))], t.clock})
		}
	}
}

func (t *table) now() Snapshot {
	s := Snapshot{Xmin: t.xid, Xmax: t.xid, Xip: slices.Sorted(slices.Values(t.running))}
	if len(s.Xip) > 0 {
		s.Xmin = s.Xip[0]
	}
	return s
}

func (t *table) span(s0, s1 Snapshot, r Range, topic string, limit int) (list []relay.Message) {
	for _, m := range t.rows {
		if s1.Sees(m.xid) && !s0.Sees(m.xid) && m.Pos > r.After && m.Pos <= r.To && (topic == "" || m.Topic == topic) && len(list) < limit {
			list = append(list, m.Message)
		}
	}
	return list
}

func (t *table) Look(_ context.Context, s0 Snapshot, limit, _ int) (Look, error) {
	s1 := t.now()
	return Look{S1: s1, Rows: t.span(s0, s1, Range{0, 1 << 60}, "", limit+1), Flushed: true}, nil
}

func (t *table) Bounds(_ context.Context, s0, s1 Snapshot) (list []Range, err error) {
	t.bounds++
	for _, m := range t.span(s0, s1, Range{0, 1 << 60}, "", 1<<60) {
		if n := len(list) - 1; n >= 0 && t.rnd.IntN(4) > 0 {
			list[n].To = m.Pos
		} else {
			list = append(list, Range{m.Pos - 1, m.Pos})
		}
	}
	return list, nil
}

func (t *table) Page(_ context.Context, s0, s1 Snapshot, r Range, topic string, limit, _ int) ([]relay.Message, bool, error) {
	page := t.span(s0, s1, r, topic, limit)
	if n := len(page); n > 1 && t.rnd.IntN(4) == 0 {
		return page[:1+t.rnd.IntN(n-1)], true, nil
	}
	return page, false, nil
}

func (t *table) Flush(context.Context, uint64) error { return nil }

func cursor(t *testing.T, p relay.Position) Cursor {
	t.Helper()
	c, err := ParseCursor(string(p))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Whatever two positions a reader gave, the range between them holds the messages that the reader returned between them, and
// every position of the range is a place from which the rest can be read again.
func TestARangeIsWhatWasReadBetweenTwoPositions(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		log := &table{rnd: rnd, xid: 700, ended: map[uint64]int{}}
		reader := NewReader(log, Cursor{S0: Beginning})
		positions, read := []Cursor{reader.Cursor()}, []int{0} // and how many messages were read up to it
		var all []relay.Message
		for range 30 {
			log.write(rnd.IntN(20))
			batch, _, err := reader.Next(t.Context(), relay.Budget{Messages: 1 + rnd.IntN(6), Bytes: 1000})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, batch.Messages...)
			if n := len(batch.Messages); n > 1 {
				positions, read = append(positions, cursor(t, batch.Position(n-1))), append(read, len(all)-1)
			}
			positions, read = append(positions, reader.Cursor()), append(read, len(all))
		}
		for range 30 {
			i := rnd.IntN(len(positions))
			j := i + rnd.IntN(len(positions)-i)
			topic := strconv.Itoa(rnd.IntN(3))
			var want []int64
			for _, m := range all[read[i]:read[j]] {
				if m.Topic == topic {
					want = append(want, m.Pos)
				}
			}
			have := log.readRange(t, positions[i], positions[j], topic)
			for n, a := range have {
				for _, b := range have[n+1:] {
					if end, over := log.ended[log.rows[b-1].xid]; over && end < log.rows[a-1].made {
						t.Fatalf("seed %d: %d comes before %d, whose transaction was over when %d was published", seed, a, b, a)
					}
				}
			}
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				t.Fatalf("seed %d: between %s and %s lie %d, the reader had returned %d", seed, positions[i], positions[j], have, want)
			}
		}
	}
}

// readRange reads a range to its end, and goes on from a position in its midst now and then, as a new owner does.
func (t *table) readRange(tt *testing.T, from, to Cursor, topic string) (list []int64) {
	tt.Helper()
	r, err := NewRange(t, from, to, topic)
	for err == nil {
		batch, end, next := r.Next(tt.Context(), relay.Budget{Messages: 1 + t.rnd.IntN(5), Bytes: 1000})
		if next != nil {
			err = next
			break
		}
		if n := len(batch.Messages); end {
			if n > 0 || batch.Position(0) != relay.Position(to.String()) {
				tt.Fatalf("the range ends with %d messages at %s, want none at %s", n, batch.Position(0), to)
			}
			return list
		} else if n == 0 {
			tt.Fatal("an empty batch before the end")
		}
		n := len(batch.Messages)
		again := t.rnd.IntN(3) == 0
		if again {
			n = 1 + t.rnd.IntN(n)
		}
		for _, m := range batch.Messages[:n] {
			list = append(list, m.Pos)
		}
		if again {
			r, err = NewRange(t, cursor(tt, batch.Position(n)), to, topic)
		}
	}
	tt.Fatalf("the range from %s to %s: %v", from, to, err)
	return nil
}

func TestARangeThatWouldEndBeforeItBeginsIsNotYet(t *testing.T) {
	t.Parallel()
	for _, of := range [][2]string{
		{"9:9:", "7:7:"},
		{"7:9:7", "8:8:"},
		{"7:7: 5 9:9:", "7:7: 4 9:9:"},
		{"7:7: 5 9:9:", "7:7: 6 10:10:"},
		{"7:7: 5 9:9:", "7:7:"},
	} {
		_, err := NewRange(&table{}, cursor(t, relay.Position(of[0])), cursor(t, relay.Position(of[1])), "")
		if !errors.Is(err, relay.ErrNotYet) {
			t.Errorf("from %s to %s: %v", of[0], of[1], err)
		}
	}
}

// A branch that is about to merge asks for short ranges within a long span again and again.
func TestAShortRangeIsNotMeasured(t *testing.T) {
	t.Parallel()
	log := &table{rnd: rand.New(rand.NewPCG(1, 2)), xid: 700, ended: map[uint64]int{}}
	log.write(3000)
	from := Cursor{S0: Beginning, Last: 1000, S1: log.now()}
	to := from
	to.Last = 1010
	log.readRange(t, from, to, "1")
	if log.bounds > 0 {
		t.Errorf("measured %d times", log.bounds)
	}
}
