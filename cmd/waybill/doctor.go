package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/doctor"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/schema"
)

type doctorCmd struct{}

func (doctorCmd) Run(ctx context.Context, a *app) error {
	cfg, err := a.load(nil)
	if err != nil {
		return err
	}
	if len(cfg.Sources)+len(cfg.Sinks) == 0 {
		return &fault.Error{Code: "WB4604", What: "nothing is configured", Try: "WAYBILL_SOURCE=... WAYBILL_SINK=... waybill doctor, or waybill init", Exit: fault.Usage}
	}
	results := a.examine(ctx, cfg)
	if err := ctx.Err(); err != nil {
		return err
	}
	count := map[doctor.Level]int{}
	var rows [][]string
	for _, r := range results {
		count[r.Level]++
		text := fmt.Sprintf("%s, %s: %s", r.Subject, r.Check, strings.TrimSpace(r.Code+" "+r.Text))
		rows = append(rows, []string{fmt.Sprintf("%-7s %s", r.Level, text)})
		if r.Try != "" {
			rows = append(rows, []string{"        Try: " + r.Try})
		}
	}
	v := map[string]any{"ok": count[doctor.Refuse]+count[doctor.Unknown] == 0, "checks": results}
	if err := a.print(v, nil, rows); err != nil {
		return err
	}
	what := fmt.Sprintf("%d refuse, %d warn, %d could not be made, %d ok", count[doctor.Refuse], count[doctor.Warn], count[doctor.Unknown], count[doctor.OK])
	switch {
	case count[doctor.Refuse] > 0:
		return &fault.Error{Code: "WB4711", What: "the promise does not hold as things stand: " + what, Try: "what stands beside each refuse", Exit: fault.Problems}
	case count[doctor.Unknown] > 0:
		return &fault.Error{Code: "WB4712", What: "not everything could be looked at: " + what, Try: "what stands beside each unknown", Exit: fault.Unreachable}
	}
	return nil
}

// examine makes every check. Sources come first, because what they hold says which topics to ask the brokers about.
func (a *app) examine(ctx context.Context, cfg *config.Config) (results []doctor.Result) {
	for _, w := range cfg.Warnings {
		results = append(results, doctor.Result{Level: doctor.Warn, Subject: "configuration", Check: "values", Text: w})
	}
	var mu sync.Mutex
	topics := map[string][]string{} // by source; one that could not be asked is not there
	examine := func(names []string, one func(name string) []doctor.Result) {
		parts := make([][]doctor.Result, len(names))
		var all sync.WaitGroup
		for i, name := range names {
			all.Go(func() { parts[i] = one(name) })
		}
		all.Wait()
		results = append(results, slices.Concat(parts...)...)
	}
	examine(sortedNames(cfg.Sources), func(name string) []doctor.Result {
		found, held, known := a.examineSource(ctx, cfg, name)
		mu.Lock()
		defer mu.Unlock()
		if known {
			topics[name] = held
		}
		return found
	})
	examine(sortedNames(cfg.Sinks), func(name string) []doctor.Result {
		var wanted, unread []string
		for relayName, r := range cfg.Relays {
			if r.Sink == name {
				wanted = append(wanted, topicsOf(cfg, relayName, topics[r.Source])...)
				if _, known := topics[r.Source]; !known {
					unread = append(unread, r.Source)
				}
			}
		}
		slices.Sort(wanted)
		slices.Sort(unread)
		return a.examineSink(ctx, cfg, name, slices.Compact(wanted), slices.Compact(unread))
	})
	return results
}

// topicsOf are the topics that a relay publishes, as far as they are known: those of the outbox, and its patterns without *.
func topicsOf(cfg *config.Config, name string, held []string) (topics []string) {
	r := cfg.Relays[name]
	takes := relay.TopicMatcher(r.Topics)
	for _, topic := range held {
		if takes(topic) {
			topics = append(topics, topic)
		}
	}
	for _, pattern := range r.Topics {
		if !strings.Contains(pattern, "*") {
			topics = append(topics, pattern)
		}
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// The ages from which a transaction is called forgotten.
const (
	preparedTooLong = 5 * time.Minute
	openTooLong     = 10 * time.Minute
)

func (a *app) examineSource(ctx context.Context, cfg *config.Config, name string) (results []doctor.Result, topics []string, known bool) {
	source := cfg.Sources[name]
	s, addr, err := doctorSource(cfg, name)
	if err != nil {
		return []doctor.Result{{Level: doctor.Unknown, Subject: "source " + name, Check: "url", Code: "WB4509", Text: err.Error()}}, nil, false
	}
	defer s.DB.Close()
	checks := []doctor.Check{
		{Name: "reachable", Make: func(ctx context.Context) (string, []doctor.Result, error) {
			return "it answers", unreachable(addr.ping(ctx, s.DB, source)), nil
		}},
		{Name: "schema", Make: func(ctx context.Context) (string, []doctor.Result, error) {
			found, err := schemaResults(ctx, s, name, source)
			return "tables, columns and indexes are as they should be", found, err
		}},
	}
	if addr.dialect == dialect.Postgres {
		checks = slices.Insert(checks, 1, []doctor.Check{{Name: "server", Make: s.Primary}, {Name: "pooler", Make: s.Pooler}, {Name: "settings", Make: s.Settings}, {Name: "clock", Make: s.Clock}}...)
		checks = append(checks, []doctor.Check{
			{Name: "history", Make: s.History},
			{Name: "rights", Make: s.Rights},
			{Name: "prepared transactions", Make: func(ctx context.Context) (string, []doctor.Result, error) { return s.Prepared(ctx, preparedTooLong) }},
			{Name: "open transactions", Make: func(ctx context.Context) (string, []doctor.Result, error) { return s.Open(ctx, openTooLong) }},
		}...)
	}
	checks = append(checks, doctor.Check{Name: "retention", Make: s.Retained}, doctor.Check{Name: "topics", Make: func(ctx context.Context) (string, []doctor.Result, error) {
		var err error
		if topics, err = s.Topics(ctx); err != nil {
			return "", nil, err
		}
		known = true
		fine, found := s.Untaken(topics)
		return fine, found, nil
	}})
	results = doctor.Run(ctx, "source "+name, a.Timeout, checks)
	return results, topics, known
}

// doctorSource is the source of that name for looking. It connects when it is used.
func doctorSource(cfg *config.Config, name string) (s doctor.Source, addr address, err error) {
	source := cfg.Sources[name]
	if addr, err = parseSource(source.URL.Reveal()); err != nil {
		return s, addr, err
	}
	s = doctor.Source{Dialect: addr.dialect, Flagged: source.Mode == "flagged", FixedTopic: source.Topic, Retention: source.Retention.Age}
	table := source.Table
	switch {
	case table == "" && s.Flagged:
		table = flaggedTable(addr.dialect)
	case table == "" && addr.dialect == dialect.SQLite:
		table = "waybill_outbox"
	case table == "":
		table = "waybill.outbox"
	}
	quote := func(to *string, name, standard string) {
		if name == "" {
			name = standard
		}
		if err == nil {
			*to, err = addr.dialect.Quote(name)
		}
	}
	quote(&s.Table, table, "")
	quote(&s.Pos, source.Columns.Pos, "pos")
	if source.Topic == "" {
		quote(&s.Topic, source.Columns.Topic, "topic")
	}
	for _, r := range sortedNames(cfg.Relays) {
		if cfg.Relays[r].Source == name {
			s.Relays = append(s.Relays, doctor.Relay{Name: r, Topics: cfg.Relays[r].Topics})
		}
	}
	if err == nil {
		s.DB, err = addr.open(false, unprepared)
	}
	return s, addr, err
}

func schemaResults(ctx context.Context, s doctor.Source, name string, source config.Source) (found []doctor.Result, err error) {
	var faults schema.Faults
	if err := schema.Validate(ctx, s.DB, s.Dialect); err != nil && !errors.As(err, &faults) {
		return nil, err
	}
	if s.Flagged {
		own, err := flaggedFaults(ctx, s.DB, s.Dialect, name, source)
		if err != nil {
			return nil, err
		}
		faults = append(faults, own...)
	}
	for _, f := range faults {
		found = append(found, doctor.Result{Level: doctor.Refuse, Code: "WB4301", Text: f.Object + " " + f.Problem, Try: f.Fix})
	}
	return found, nil
}

// unreachable is the result for a database or broker that does not answer; nil where it does.
func unreachable(err error) []doctor.Result {
	if err == nil {
		return nil
	}
	r := doctor.Result{Level: doctor.Unknown, Unreachable: true, Text: strings.TrimPrefix(err.Error(), "waybill: ")}
	var e *fault.Error
	if errors.As(err, &e) {
		r.Code, r.Text, r.Try = e.Code, e.What+": "+e.Why.Error(), e.Try
	} else if code, rest, ok := strings.Cut(r.Text, " "); ok && strings.HasPrefix(code, "WB") {
		r.Code = code
		r.Text, r.Try, _ = strings.Cut(rest, ". Try: ")
	}
	return []doctor.Result{r}
}
