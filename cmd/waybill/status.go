package main

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/cmd/waybill/internal/look"
)

type statusCmd struct{}

// relayStatus is a relay as its database knows it. What is unknown is null.
type relayStatus struct {
	Relay    string   `json:"relay"`
	Source   string   `json:"source"`
	Sink     string   `json:"sink"`
	Mode     string   `json:"mode"`
	State    string   `json:"state"` // owned, no owner, never ran, unreachable, error
	Owner    string   `json:"owner,omitempty"`
	Lease    *float64 `json:"lease_seconds"`
	SavedAgo *float64 `json:"cursor_saved_seconds_ago"`
	Pending  *int     `json:"pending"`
	More     bool     `json:"pending_is_at_least"` // pending stopped counting
	Oldest   *float64 `json:"oldest_pending_seconds"`
	Held     int      `json:"held"`
	Parked   int      `json:"parked"`
	Topics   []string `json:"topics"` // none is every topic
	Branches []branch `json:"branches"`
	TooMany  bool     `json:"stopped_by_held_keys"` // so many that it does not run
	Why      string   `json:"why,omitempty"`
	WhyID    string   `json:"why_id,omitempty"` // the message set aside for that reason
	WhyTopic string   `json:"why_topic,omitempty"`
}

// branch is a topic that waits for the broker to take it.
type branch struct {
	Topic   string   `json:"topic"`
	Since   *float64 `json:"since_seconds"`
	Pending *int     `json:"pending"`
	More    bool     `json:"pending_is_at_least"`
	Error   string   `json:"error"`
}

func (statusCmd) Run(ctx context.Context, a *app) error {
	cfg, err := a.load(nil)
	if err != nil {
		return err
	}
	if len(cfg.Relays) == 0 {
		return &fault.Error{Code: "WB4604", What: "no relay is configured", Try: "WAYBILL_SOURCE=... WAYBILL_SINK=... waybill status, or waybill init", Exit: fault.Usage}
	}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	var all []relayStatus
	var failed error
	for _, name := range slices.Sorted(maps.Keys(cfg.Relays)) {
		s, err := a.relayStatus(ctx, cfg, name)
		if err != nil {
			s.State, s.Why = "error", err.Error()
			if fault.Exit(err) == fault.Unreachable {
				s.State = "unreachable"
			}
			if failed == nil || fault.Exit(err) > fault.Exit(failed) {
				failed = err
			}
		}
		all = append(all, s)
	}
	rows := make([][]string, len(all))
	for i, s := range all {
		rows[i] = s.row()
	}
	header := []string{"RELAY", "SOURCE", "SINK", "MODE", "OWNER", "LEASE", "SAVED", "PENDING", "OLDEST", "HELD", "PARKED", "BRANCHES", "TOPICS"}
	if err := a.print(map[string]any{"relays": all}, header, rows); err != nil {
		return err
	}
	if a.Output == "table" {
		for _, s := range all {
			s.printNotes(a)
		}
	}
	return failed
}

// printNotes says beneath the table what a number cannot.
func (s relayStatus) printNotes(a *app) {
	if s.TooMany {
		fmt.Fprintf(a.out, "! %s: stopped, because more than %d keys are set aside (WB5005). Repair the cause and start it again: it goes on where it is\n", s.Relay, look.MaxHeld)
	}
	for _, b := range s.Branches {
		fmt.Fprintf(a.out, "! %s: topic %s waits since %s, %s messages: %s\n", s.Relay, plain(b.Topic), age(b.Since), bounded(b.Pending, b.More), plain(firstLine(b.Error)))
	}
	if s.Held+s.Parked > 0 {
		if s.WhyID != "" {
			fmt.Fprintf(a.out, "! %s: the last message set aside, %s of topic %s: %s\n", s.Relay, plain(s.WhyID), plain(s.WhyTopic), plain(firstLine(s.Why)))
		}
		fmt.Fprintf(a.out, "  waybill parked list --relay %s shows all that is set aside\n", s.Relay)
	}
}

func (a *app) relayStatus(ctx context.Context, cfg *config.Config, name string) (relayStatus, error) {
	r := cfg.Relays[name]
	source := cfg.Sources[r.Source]
	s := relayStatus{Relay: name, Source: r.Source, Sink: r.Sink, Mode: source.Mode, State: "never ran", Topics: []string{}, Branches: []branch{}}
	var db *sql.DB
	db, addr, err := a.database(ctx, source, false)
	if err != nil {
		return s, err
	}
	defer db.Close()
	at := lookAt(source)
	at.Topics = r.Topics
	found, err := look.Look(ctx, db, addr.dialect, at, name)
	if err != nil {
		return s, &fault.Error{Code: "WB4611", What: "read how relay " + name + " stands", Why: err, Try: "waybill migrate validate --source " + r.Source}
	}
	s.Held, s.Parked, s.Why, s.WhyID, s.WhyTopic = found.Held, found.Parked, found.Why, found.WhyID, found.WhyTopic
	s.Topics, s.TooMany = append(s.Topics, found.Topics...), found.TooMany
	for _, b := range found.Branches {
		s.Branches = append(s.Branches, branch{b.Topic, secs(b.Since), b.Pending, b.Pending != nil && *b.Pending >= look.Most, b.Error})
	}
	s.Pending, s.More = found.Pending, found.Pending != nil && *found.Pending >= look.Most
	if found.Oldest != nil {
		s.Oldest = secs(*found.Oldest)
	}
	if found.Known {
		s.State, s.SavedAgo = "no owner", secs(found.SavedAgo)
		if found.Lease > 0 {
			s.State, s.Owner, s.Lease = "owned", found.Owner, secs(found.Lease)
		}
	}
	return s, nil
}

func lookAt(s config.Source) look.Source {
	at := look.Source{Table: s.Table, Flagged: s.Mode == "flagged", FromNow: s.From == "now",
		Published: s.Columns.IsPublished, Created: s.Columns.CreatedAt, Pos: s.Columns.Pos, Topic: s.Columns.Topic}
	if s.Topic != "" { // every message has it
		at.Topic = "-"
	}
	return at
}

func (s relayStatus) row() []string {
	owner := s.Owner
	if owner == "" {
		owner = "(" + s.State + ")"
	}
	oldest := age(s.Oldest)
	if s.Oldest == nil && s.Pending == nil {
		oldest = "?"
	}
	return []string{s.Relay, s.Source, s.Sink, s.Mode, owner, age(s.Lease), age(s.SavedAgo), bounded(s.Pending, s.More), oldest, strconv.Itoa(s.Held), strconv.Itoa(s.Parked),
		strconv.Itoa(len(s.Branches)), or(strings.Join(s.Topics, ","), "*")}
}

// bounded is a number that may be unknown, or stand for that many and more.
func bounded(n *int, more bool) string {
	if n == nil {
		return "?"
	}
	if more {
		return strconv.Itoa(*n) + "+"
	}
	return strconv.Itoa(*n)
}

func secs(d time.Duration) *float64 {
	s := d.Round(time.Millisecond).Seconds()
	return &s
}

func age(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	d := time.Duration(*seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Second).String(), "m0s")
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
