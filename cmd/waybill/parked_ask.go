package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/cmd/waybill/internal/look"
	"github.com/waybillhq/waybill/internal/sqlstore"
)

// askFlags are those of the commands that ask something of a relay.
type askFlags struct {
	Names []string `arg:"" optional:"" name:"id|pos" help:"The messages, by id or pos."`
	filters
	All    bool   `help:"All messages of --relay; needed where nothing else chooses."`
	Yes    bool   `help:"Do not ask. Without a terminal it needs --set."`
	Set    string `placeholder:"TOKEN" help:"Refuse if the messages are not exactly those of this set, as list prints it."`
	NoWait bool   `help:"Do not wait for what becomes of them."`
}

type parkedRetryCmd struct {
	askFlags
	Topic string `placeholder:"TOPIC" help:"Only messages of this topic."`
}

type parkedDiscardCmd struct {
	askFlags
	Topic string `placeholder:"TOPIC" help:"Only messages of this topic."`
}

func (c parkedRetryCmd) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, sqlstore.Retry, c.Topic, nil)
}

func (c parkedDiscardCmd) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, sqlstore.Discard, c.Topic, nil)
}

// run chooses, asks, and tells what became of it. prepare, where it is given, returns what is to change of each message.
func (f askFlags) run(ctx context.Context, a *app, request, topic string, prepare func(ctx context.Context, list []asideMessage) (map[asideMessage]string, error)) error {
	chooses := topic+f.Key+f.Error+f.State != "" || len(f.ID) > 0
	switch {
	case len(f.Names) > 0 && (chooses || f.All):
		try := "waybill parked list, for their ids"
		if request == sqlstore.Edit {
			try = "leave --key and --id away: they choose messages, and neither can be edited. The key gives the order, and the id is what consumers know a copy by"
		}
		return &fault.Error{Code: "WB4802", What: "messages are named and chosen by flags at once", Try: try, Exit: fault.Usage}
	case len(f.Names) == 0 && !chooses && (!f.All || f.Relay == ""):
		return &fault.Error{Code: "WB4802", What: "nothing says which messages", Try: "an id, a flag that chooses, or --all with --relay", Exit: fault.Usage}
	}
	if f.All {
		f.Limit = 0
	}
	connecting, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	places, err := a.places(connecting, f.Relay)
	if err != nil {
		return err
	}
	defer closePlaces(places)
	found, err := f.pick(connecting, places, topic, f.Names)
	if err == nil {
		err = unambiguous(found.list, f.Names)
	}
	if err != nil {
		return err
	}
	var edits map[asideMessage]string
	if prepare != nil && len(found.list) > 0 {
		if edits, err = prepare(ctx, found.list); err != nil { // for as long as an editor is open
			return err
		}
	}
	if err := f.confirm(ctx, a, request, found); err != nil {
		return err
	}
	return a.askFor(ctx, request, found.list, edits, !f.NoWait)
}

// confirm sees to it that somebody has seen exactly these messages.
func (f askFlags) confirm(ctx context.Context, a *app, request string, found picked) error {
	if f.Set != "" {
		if how := look.Differs(f.Set, found.asides(), time.Now()); how != nil {
			return &fault.Error{Code: "WB4803", What: "these are not the messages of --set: " + strings.Join(how, "; "), Try: "waybill parked list, and look again", Exit: fault.Refused}
		}
	}
	if len(found.list) == 0 {
		return &fault.Error{Code: "WB4801", What: "no such message is set aside", Try: "waybill parked list"}
	}
	if len(f.Names) > 0 || f.Yes && f.Set != "" {
		return nil
	}
	in, ok := a.in.(*os.File)
	if !ok || !canAsk(in) {
		return &fault.Error{Code: "WB4804", What: fmt.Sprintf("%d messages would be affected, and there is no terminal to ask", len(found.list)),
			Try: "waybill parked list with the same flags, then --yes --set with the set it prints; or name the messages", Exit: fault.Refused}
	}
	header, rows := asideHeader, found.rows()
	if len(rows) > 100 {
		groups := map[string]*errorGroup{}
		for _, m := range found.list {
			count(groups, m)
		}
		header = groupHeader
		_, rows = ordered(groups)
	}
	shown := table(header, rows)
	if _, err := a.err.Write(shown.Bytes()); err != nil || f.Yes { // a question is no result
		return err
	}
	fmt.Fprintf(a.err, "%d messages%s\n%s them? y/N \n", len(found.list), found.rest(), strings.ToUpper(request[:1])+request[1:])
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // its end is a no
		answer <- line
	}()
	select {
	case line := <-answer:
		if word := strings.ToLower(strings.TrimSpace(line)); word == "y" || word == "yes" {
			return nil
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	return &fault.Error{Code: "WB4804", What: "nothing is done", Exit: fault.Refused}
}

// canAsk tells whether a person can answer. The null device looks like a terminal.
func canAsk(in *os.File) bool {
	info, err := in.Stat()
	null, errNull := os.Stat(os.DevNull)
	return err == nil && isTerminal(in) && (errNull != nil || !os.SameFile(info, null))
}

// who is the person at the keyboard, as far as the machine knows.
func who() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname() // only for people
	return name + "@" + host
}

// outcome is what became of one message.
type outcome struct {
	Relay  string `json:"relay"`
	Pos    int64  `json:"pos"`
	ID     string `json:"id"`
	Result string `json:"result"`
	Error  string `json:"error,omitempty"`
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
		if o.Result == heldAgain || o.Result == notYet && wait && len(idle) == 0 || o.Result == published && request == sqlstore.Discard {
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
		o := outcome{Relay: m.Relay, Pos: m.Pos, ID: m.ID, Result: notYet}
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
