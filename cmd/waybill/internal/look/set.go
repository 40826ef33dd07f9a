package look

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybillhq/waybill/internal/sqlstore"
)

// Set names exactly these messages in exactly this state, so that a script acts on what it has looked at. Besides a hash it holds
// what tells how another set differs: their number, the sum of attempts, how many are held, and when.
func Set(list []sqlstore.Aside, now time.Time) string {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b sqlstore.Aside) int {
		if c := strings.Compare(a.Relay, b.Relay); c != 0 {
			return c
		}
		return int(min(max(a.Pos-b.Pos, -1), 1))
	})
	hash := sha256.New()
	attempts, held := 0, 0
	for _, a := range list {
		fmt.Fprintf(hash, "%q %d %d %s\n", a.Relay, a.Pos, a.Attempts, a.State)
		attempts += a.Attempts
		if a.State == "held" {
			held++
		}
	}
	return fmt.Sprintf("%d.%d.%d.%d.%s", len(list), attempts, held, now.Unix(), hex.EncodeToString(hash.Sum(nil)[:8]))
}

// Differs says how the messages differ from those that a set names; nothing when they do not.
func Differs(set string, list []sqlstore.Aside, now time.Time) (how []string) {
	was, is := strings.Split(set, "."), strings.Split(Set(list, now), ".")
	if len(was) != len(is) {
		return []string{"it is no set that waybill parked list has printed"}
	}
	if was[4] == is[4] {
		return nil
	}
	for i, what := range []string{"messages", "attempts in all", "of them held"} {
		if was[i] != is[i] {
			how = append(how, fmt.Sprintf("%s %s, now %s", was[i], what, is[i]))
		}
	}
	if at, err := strconv.ParseInt(was[3], 10, 64); err == nil {
		var fresh []string
		for _, a := range list {
			if a.Age < now.Sub(time.Unix(at, 0)) {
				fresh = append(fresh, fmt.Sprintf("%s/%d", a.Relay, a.Pos))
			}
		}
		if n := len(fresh); n > 0 {
			how = append(how, fmt.Sprintf("%d set aside since: %s", n, strings.Join(fresh[:min(n, 5)], ", ")))
		}
	}
	if len(how) == 0 {
		how = append(how, "other messages, or others of them tried again")
	}
	return how
}
