package sim

import (
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/relay"
)

// tables are what the relay keeps in the database beside the outbox. Recovery builds them anew from the log.
type tables struct {
	lease struct {
		owner   string
		epoch   int64
		expires time.Duration
	}
	cursor struct {
		epoch    int64
		position relay.Position
		at       snapshot.Cursor // what position says
	}
	parked   []relay.Parked // by pos
	branches []relay.Branch // by topic
}

func (tb *tables) find(pos int64) (int, bool) {
	i := sort.Search(len(tb.parked), func(i int) bool { return tb.parked[i].Pos >= pos })
	return i, i < len(tb.parked) && tb.parked[i].Pos == pos
}

func (tb *tables) branch(topic string) (int, bool) {
	return slices.BinarySearchFunc(tb.branches, topic, func(b relay.Branch, topic string) int { return strings.Compare(b.Topic, topic) })
}

// save does to the tables what one transaction of the store does. at is the position of s, read.
func (tb *tables) save(s relay.Save, at snapshot.Cursor) {
	if s.Position != "" {
		tb.cursor.position, tb.cursor.at = s.Position, at
	}
	for _, b := range s.Branches {
		if i, there := tb.branch(b.Topic); there {
			tb.branches[i] = b
		} else {
			tb.branches = slices.Insert(tb.branches, i, b)
		}
	}
	for _, topic := range s.Merged {
		if i, there := tb.branch(topic); there {
			tb.branches = slices.Delete(tb.branches, i, i+1)
		}
	}
	for _, p := range s.Park {
		if i, there := tb.find(p.Pos); !there {
			tb.parked = slices.Insert(tb.parked, i, p)
		}
	}
	for _, p := range s.Retried {
		if i, there := tb.find(p.Pos); there {
			tb.parked[i].Attempts, tb.parked[i].Error = p.Attempts, p.Error
		}
	}
	for _, p := range s.Unpark {
		if i, there := tb.find(p.Pos); there {
			tb.parked = slices.Delete(tb.parked, i, i+1)
		}
	}
}

// lanes are those with messages held, in order.
func (tb *tables) lanes() []string {
	var list []string
	for _, p := range tb.parked {
		if p.State == relay.StateHeld && !slices.Contains(list, p.Lane) {
			list = append(list, p.Lane)
		}
	}
	slices.Sort(list)
	return list
}

func (tb *tables) held(lane string, limit int) []relay.Parked {
	var list []relay.Parked
	for _, p := range tb.parked {
		if p.State == relay.StateHeld && p.Lane == lane && len(list) < limit {
			list = append(list, p)
		}
	}
	return list
}
