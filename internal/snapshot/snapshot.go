// Package snapshot reads a PostgreSQL table of messages in an order that keeps each key's commit order, without loss and
// without stall: by the difference of two snapshots. PgQ has used the same filter for years.
//
// A span is what one snapshot sees and the one before it did not. Each committed row becomes visible exactly once, so the
// spans partition all rows whatever their numbers. Within a span rows go by pos. That keeps a key's order: if m2 was
// published after m1 committed, then whenever m2 is visible so is m1, and pos of m1 is below pos of m2.
// A span is never cut by xid: that would invert keys.
//
// The package has no driver and no clock, so that the simulation runs the very code that reads the real server.
package snapshot

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is what pg_current_snapshot() returns: every transaction below Xmin is over, none from Xmax on had begun, and
// of those between, the ones in Xip were still running.
type Snapshot struct {
	Xmin, Xmax uint64
	Xip        []uint64 // sorted
}

// Beginning sees nothing.
var Beginning = Snapshot{Xmin: 3, Xmax: 3}

// Parse reads PostgreSQL's text form, xmin:xmax:xip,xip.
func Parse(text string) (Snapshot, error) {
	var s Snapshot
	fail := func() (Snapshot, error) { return Snapshot{}, fmt.Errorf("not a snapshot: %q", text) }
	part := strings.Split(text, ":")
	if len(part) != 3 {
		return fail()
	}
	var err1, err2 error
	s.Xmin, err1 = strconv.ParseUint(part[0], 10, 64)
	s.Xmax, err2 = strconv.ParseUint(part[1], 10, 64)
	if err1 != nil || err2 != nil || s.Xmin > s.Xmax {
		return fail()
	}
	if part[2] == "" {
		return s, nil
	}
	for x := range strings.SplitSeq(part[2], ",") {
		xid, err := strconv.ParseUint(x, 10, 64)
		if err != nil || xid < s.Xmin || xid >= s.Xmax || len(s.Xip) > 0 && xid <= s.Xip[len(s.Xip)-1] {
			return fail()
		}
		s.Xip = append(s.Xip, xid)
	}
	return s, nil
}

// String returns PostgreSQL's text form.
func (s Snapshot) String() string {
	b := make([]byte, 0, 24+12*len(s.Xip))
	b = strconv.AppendUint(b, s.Xmin, 10)
	b = append(b, ':')
	b = strconv.AppendUint(b, s.Xmax, 10)
	b = append(b, ':')
	for i, x := range s.Xip {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, x, 10)
	}
	return string(b)
}

// Sees tells whether a transaction, if it committed, is visible.
func (s Snapshot) Sees(xid uint64) bool {
	if xid < s.Xmin {
		return true
	}
	_, running := slices.BinarySearch(s.Xip, xid)
	return xid < s.Xmax && !running
}

// Covers tells whether s sees all that o sees, as every later snapshot of the same server does.
func (s Snapshot) Covers(o Snapshot) bool {
	if s.Xmax < o.Xmax {
		return false
	}
	for _, x := range s.Xip {
		if o.Sees(x) {
			return false
		}
	}
	return true
}

// Equal tells whether both see the same.
func (s Snapshot) Equal(o Snapshot) bool {
	return s.Xmin == o.Xmin && s.Xmax == o.Xmax && slices.Equal(s.Xip, o.Xip)
}

// Cursor is how far a relay is: everything S0 sees is done, and of the span that S1 ends, everything up to Last.
// Last is 0 between spans; then S1 means nothing. Its text form is "S0" or "S0 last S1".
type Cursor struct {
	S0   Snapshot
	Last int64
	S1   Snapshot
}

// ParseCursor reads the text form of a cursor.
func ParseCursor(text string) (Cursor, error) {
	var c Cursor
	var err error
	part := strings.Split(text, " ")
	if c.S0, err = Parse(part[0]); err != nil || len(part) == 1 {
		return c, err
	}
	if len(part) != 3 {
		return c, fmt.Errorf("not a cursor: %q", text)
	}
	if c.Last, err = strconv.ParseInt(part[1], 10, 64); err != nil || c.Last <= 0 {
		return c, fmt.Errorf("not a cursor: %q", text)
	}
	c.S1, err = Parse(part[2])
	return c, err
}

func (c Cursor) String() string {
	if c.Last == 0 {
		return c.S0.String()
	}
	return c.S0.String() + " " + strconv.FormatInt(c.Last, 10) + " " + c.S1.String()
}

// Newest is the latest snapshot in the cursor. Whoever saves the cursor must prove that no xid below its Xmax can come
// again, or a crash would let new transactions hide below it.
func (c Cursor) Newest() Snapshot {
	if c.Last == 0 {
		return c.S0
	}
	return c.S1
}
