package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/internal/sqlstore"
)

// outcome is what became of one message.
type outcome struct {
	Relay  string `json:"relay"`
	Pos    int64  `json:"pos"`
	ID     string `json:"id"`
	Result string `json:"result"`
	Error  string `json:"error,omitempty"`

	idle bool // nobody runs the relay
}

// The results.
const (
	published = "published"
	discarded = "discarded"
	heldAgain = "held again"
	notYet    = "not yet"
)

// asking is what was asked of one relay.
type asking struct {
	*place
	relay     string
	positions []int64
	asked     sqlstore.Asked
}

func (a *app) askFor(ctx context.Context, request string, list []asideMessage, edits map[asideMessage]string, wait bool) error {
	var all []*asking
	at := map[[2]string]*asking{}
	texts := map[*asking]map[int64]string{}
	for _, m := range list {
		where := [2]string{m.source, m.Relay}
		if at[where] == nil {
			at[where] = &asking{place: m.place, relay: m.Relay}
			all = append(all, at[where])
			texts[at[where]] = map[int64]string{}
		}
		at[where].positions = append(at[where].positions, m.Pos)
		texts[at[where]][m.Pos] = edits[m]
	}
	var idle []string
	for _, r := range all {
		var err error
		within, cancel := context.WithTimeout(ctx, a.Timeout)
		r.asked, err = r.store.Ask(within, r.relay, who(), request, r.positions, texts[r])
		cancel()
		if err != nil {
			return r.failed("ask for a "+request, err)
		}
		if r.asked.Owner == "" {
			idle = append(idle, r.relay)
		}
	}
	results, err := a.results(ctx, request, all, list, wait)
	if err != nil {
		return err
	}
	v := struct {
		Messages []outcome `json:"messages"`
		NoOwner  []string  `json:"relays_without_owner"`
	}{results, append([]string{}, idle...)}
	var rows [][]string
	left, counts := 0, map[string]int{}
	for _, o := range results {
		counts[o.Result]++
		rows = append(rows, []string{o.Relay, fmt.Sprint(o.Pos), plain(o.ID), o.Result, or(plain(shortened(o.Error, 160)), "-")})
		if o.Result == heldAgain || o.Result == notYet && wait && !o.idle || o.Result == published && o.Error != "" {
			left++
		}
	}
	if err := a.print(v, []string{"RELAY", "POS", "ID", "RESULT", "ERROR"}, rows[:min(len(rows), 100)]); err != nil {
		return err
	}
	if len(rows) > 100 && a.Output == "table" {
		var all []string
		for _, result := range slices.Sorted(maps.Keys(counts)) {
			all = append(all, fmt.Sprintf("%d %s", counts[result], result))
		}
		fmt.Fprintln(a.out, "the first 100 of: "+strings.Join(all, ", "))
	}
	for _, name := range idle {
		fmt.Fprintf(a.err, "no process runs relay %s: it is asked for and will be done when one starts\n", name)
	}
	if left > 0 {
		return &fault.Error{Code: "WB4805", What: fmt.Sprintf("%d of %d messages have not become what was asked", left, len(results)),
			Try: "waybill parked list; what is not done yet stays asked for", Exit: fault.Problems}
	}
	return nil
}

// results waits until every message of a relay that somebody runs has become something, or for --timeout.
func (a *app) results(ctx context.Context, request string, all []*asking, list []asideMessage, wait bool) (results []outcome, err error) {
	until, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		results = results[:0]
		open := false
		for _, r := range all {
			some, more, err := r.look(ctx, request, list)
			if err != nil {
				return nil, r.failed("see what became of it", err)
			}
			results, open = append(results, some...), open || more && r.asked.Owner != ""
		}
		if !open || !wait {
			return results, nil
		}
		select {
		case <-until.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return results, nil
		case <-time.After(pause):
		}
	}
}

// look tells what has become of the messages of one relay so far, and whether more may come of them.
func (r *asking) look(ctx context.Context, request string, list []asideMessage) (results []outcome, open bool, err error) {
	still, err := r.store.StillAside(ctx, r.relay, r.positions)
	if err != nil {
		return nil, false, err
	}
	history, err := r.store.History(ctx, r.relay, r.positions, r.asked.After, false)
	if err != nil {
		return nil, false, err
	}
	done := map[int64]sqlstore.Action{}
	for _, h := range history {
		done[h.Pos] = h
	}
	failed := map[string]int64{} // lanes that are held again, and behind what
	for _, m := range list {
		if m.place != r.place || m.Relay != r.relay {
			continue
		}
		now, there := still[m.Pos]
		o := outcome{Relay: m.Relay, Pos: m.Pos, ID: m.ID, Result: notYet, idle: r.asked.Owner == ""}
		first, behind := failed[m.Lane]
		switch {
		case !there && done[m.Pos].Action == sqlstore.Discard:
			o.Result = discarded
		case !there:
			if o.Result = published; request != sqlstore.Retry && done[m.Pos].N == 0 {
				o.Error = "before it could be done"
			}
		case now.ID != m.ID || now.Request != "" || done[m.Pos].N == 0:
			open = true
		case now.Attempts != done[m.Pos].Attempts || now.Error != done[m.Pos].Error:
			o.Result, o.Error = heldAgain, now.Error
			failed[m.Lane] = m.Pos
		case behind:
			o.Result, o.Error = heldAgain, fmt.Sprintf("behind %d of its key", first)
		default:
			open = true
		}
		results = append(results, o)
	}
	return results, open, nil
}
