package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/waybillhq/waybill/cmd/waybill/internal/look"
)

type parkedListCmd struct {
	filters
	Topic string `placeholder:"TOPIC" help:"Only messages of this topic."`
	Group bool   `help:"Show the errors with how many messages each has, not the messages."`
}

// asideJSON is a message set aside without its body and headers.
type asideJSON struct {
	Relay       string  `json:"relay"`
	Pos         int64   `json:"pos"`
	ID          string  `json:"id"`
	Topic       string  `json:"topic"`
	Key         string  `json:"key"`
	Type        string  `json:"type"`
	State       string  `json:"state"`
	Attempts    int     `json:"attempts"`
	Age         float64 `json:"age_seconds"`
	Request     string  `json:"request,omitempty"`
	RequestedBy string  `json:"requested_by,omitempty"`
	Group       string  `json:"group"`
	Error       string  `json:"error"`
}

func (m asideMessage) json() asideJSON {
	group, _ := m.group()
	return asideJSON{m.Relay, m.Pos, m.ID, m.Topic, m.Key, m.Type, m.State, m.Attempts, *secs(m.Age), m.Request, m.RequestedBy, group, m.Aside.Error}
}

var asideHeader = []string{"RELAY", "POS", "ID", "TOPIC", "KEY", "STATE", "ATTEMPTS", "AGE", "REQUEST", "ERROR"}

func (m asideMessage) row() []string {
	reason := m.Aside.Error
	if reason == "" {
		reason = "(waits behind another of its key)"
	}
	return []string{m.Relay, strconv.FormatInt(m.Pos, 10), plain(m.ID), plain(m.Topic), or(plain(m.Key), "-"), m.State, strconv.Itoa(m.Attempts),
		age(secs(m.Age)), or(m.Request, "-"), plain(shortened(reason, 100))}
}

func (c parkedListCmd) Run(ctx context.Context, a *app) error {
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	places, err := a.places(ctx, c.Relay)
	if err != nil {
		return err
	}
	defer closePlaces(places)
	if c.Group {
		return a.printGroups(ctx, places, c)
	}
	found, err := c.pick(ctx, places, c.Topic, nil)
	if err != nil {
		return err
	}
	set := look.Set(found.asides(), time.Now())
	v := struct {
		Messages []asideJSON `json:"messages"`
		More     int         `json:"more"`
		AtLeast  bool        `json:"more_is_at_least"`
		Set      string      `json:"set"`
	}{[]asideJSON{}, found.more, found.more >= look.Most, set}
	rows := found.rows()
	for _, m := range found.list {
		v.Messages = append(v.Messages, m.json())
	}
	if err := a.print(v, asideHeader, rows); err != nil || a.Output != "table" {
		return err
	}
	fmt.Fprintf(a.out, "%d messages%s; set %s\n", len(found.list), found.rest(), set)
	return nil
}

func (p picked) rows() (rows [][]string) {
	for _, m := range p.list {
		rows = append(rows, m.row())
	}
	return rows
}

// rest says how many messages the limit left out.
func (p picked) rest() string {
	switch {
	case p.more >= look.Most:
		return fmt.Sprintf(", and %d or more behind them (--limit 0 shows all)", look.Most)
	case p.more > 0:
		return fmt.Sprintf(", and %d more (--limit 0 shows all)", p.more)
	}
	return ""
}

// errorGroup is what messages with one cause have in common.
type errorGroup struct {
	Group   string    `json:"group"`
	Count   int       `json:"count"`
	Oldest  float64   `json:"oldest_seconds"`
	Newest  float64   `json:"newest_seconds"`
	Error   string    `json:"error"`
	Example asideJSON `json:"example"`
}

func (a *app) printGroups(ctx context.Context, places []*place, c parkedListCmd) error {
	groups := map[string]*errorGroup{}
	err := c.each(ctx, places, c.Topic, nil, 0, func(m asideMessage) { count(groups, m) })
	if err != nil {
		return err
	}
	list, rows := ordered(groups)
	return a.print(map[string]any{"groups": list}, groupHeader, rows)
}

var groupHeader = []string{"GROUP", "COUNT", "OLDEST", "NEWEST", "EXAMPLE", "ERROR"}

func count(groups map[string]*errorGroup, m asideMessage) {
	name, shape := m.group()
	g := groups[name]
	if g == nil {
		g = &errorGroup{Group: name, Error: shape, Example: m.json(), Newest: m.Age.Seconds()}
		groups[name] = g
	}
	g.Count++
	g.Oldest, g.Newest = max(g.Oldest, *secs(m.Age)), min(g.Newest, *secs(m.Age))
}

// ordered puts the greatest group first.
func ordered(groups map[string]*errorGroup) (list []errorGroup, rows [][]string) {
	list = []errorGroup{}
	for _, g := range groups {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(x, y errorGroup) int {
		return cmp.Or(y.Count-x.Count, strings.Compare(x.Group, y.Group))
	})
	for _, g := range list {
		rows = append(rows, []string{g.Group, strconv.Itoa(g.Count), age(&g.Oldest), age(&g.Newest), g.Example.Relay + "/" + strconv.FormatInt(g.Example.Pos, 10),
			or(plain(shortened(g.Error, 160)), "(wait behind another of their key)")})
	}
	return list, rows
}

// plain keeps what others wrote from moving the cursor or breaking the table.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, strings.ReplaceAll(text, "\n", " "))
}

func shortened(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
