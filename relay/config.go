package relay

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
	"unicode/utf8"
)

// Policy says what becomes of a message that the broker rejects.
type Policy string

// The policies.
const (
	// Hold sets the message aside, keeps the later messages of its key behind it, tries again with back-off, and releases them
	// in order when it is accepted. Other keys flow on.
	Hold Policy = "hold"
	// Park sets only this message aside until a person decides; its key flows on. The hole in the key's order is logged.
	Park Policy = "park"
	// Stop ends the relay with an error.
	Stop Policy = "stop"
)

// Config is what a relay needs. Name, Source, Store and Sink are required.
type Config struct {
	Name   string
	Source Source
	Store  Store
	Sink   Sink

	// Lease is how long ownership lasts without a renewal: the time a dead owner holds up its successor. Defaults to 10 s.
	Lease time.Duration
	// Logger gets what a person on call must know. Defaults to silence.
	Logger *slog.Logger
	// MaxHeld bounds the lanes that wait aside; above it the relay stops loudly. Defaults to 10,000.
	MaxHeld int
	// Observer is told of every call of the sink. Defaults to nobody.
	Observer Observer
	// OnRejected defaults to Hold.
	OnRejected Policy
	// Owner names this process in the lease. Defaults to host, process number and a random part.
	Owner string
	// SendTimeout bounds one Publish, and so how long an outcome may stay unknown. At most Lease/2. Defaults to 3 s.
	SendTimeout time.Duration
	// StuckAfter is how long one key may keep failing for an outage, while other keys are confirmed, before it is set aside
	// so that it does not pin the window. Defaults to 30 s.
	StuckAfter time.Duration
	// Topics are the patterns of the topics that this relay publishes; * stands for any run of characters. Others are passed over,
	// for another relay. Defaults to every topic.
	Topics []string
	// Window bounds the messages read and not yet behind the saved cursor: the bound of duplicates. Defaults to 10,000.
	Window int
	// WindowBytes bounds the same in bytes: the bound of memory. Defaults to 16 MiB.
	WindowBytes int
}

func (c Config) withDefaults() (Config, error) {
	var faults []error
	need := func(ok bool, field, rule string) {
		if !ok {
			faults = append(faults, fmt.Errorf("waybill: WB4101 relay %q: %s %s", c.Name, field, rule))
		}
	}
	need(c.Name != "", "Name", "is required")
	need(c.Source != nil, "Source", "is required")
	need(c.Store != nil, "Store", "is required")
	need(c.Sink != nil, "Sink", "is required")
	orDefault(&c.Lease, 10*time.Second)
	orDefault(&c.MaxHeld, 10_000)
	orDefault(&c.OnRejected, Hold)
	orDefault(&c.SendTimeout, min(3*time.Second, c.Lease/2))
	orDefault(&c.StuckAfter, 30*time.Second)
	orDefault(&c.Window, 10_000)
	orDefault(&c.WindowBytes, 16<<20)
	if c.Owner == "" {
		host, _ := os.Hostname() // only a name for people; the random part makes it unique
		c.Owner = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:8])
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	need(!slices.ContainsFunc(c.Topics, func(p string) bool { return p == "" || !utf8.ValidString(p) }), "Topics", "must be patterns in UTF-8, none of them empty")
	need(c.Lease > 0, "Lease", "must be positive")
	need(c.SendTimeout > 0 && c.SendTimeout <= c.Lease/2, "SendTimeout", "must be positive and at most half of Lease, or an old owner could write beside a new one")
	need(c.StuckAfter > 0, "StuckAfter", "must be positive")
	need(c.Window >= 1, "Window", "must be at least 1")
	need(c.WindowBytes >= 1, "WindowBytes", "must be at least 1")
	need(c.MaxHeld >= 1, "MaxHeld", "must be at least 1")
	need(c.OnRejected == Hold || c.OnRejected == Park || c.OnRejected == Stop, "OnRejected", "must be hold, park or stop")
	return c, errors.Join(faults...)
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
