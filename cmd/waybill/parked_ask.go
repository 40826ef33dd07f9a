package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/user"
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
