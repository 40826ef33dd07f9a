package stress

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybillhq/waybill/relay"
)

func TestOrderStress(t *testing.T) {
	t.Parallel()
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, k, k.database(t))
			s.orderStress(t, inProcess(relay.Config{Name: "stress"}))
		})
	}
}

// One outbox, a relay to each broker.
func TestOrderStressToRealBrokers(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"jetstream", "kafka", "rabbitmq"}, {"kafka with a fence"}} {
		t.Run(strings.Join(names, " and "), func(t *testing.T) {
			t.Parallel()
			k := kinds["postgres cursor"]
			s := newStage(t, k, k.database(t))
			var relays []outlet
			for _, name := range names {
				b := startBroker(t, name, s.load.Topic)
				// An answer that takes longer, on a busy machine, would be a copy.
				relays = append(relays, outlet{relay.Config{Name: name, Sink: b.sink(t), Lease: time.Minute, SendTimeout: 30 * time.Second}, b.observe})
			}
			s.orderStress(t, relays...)
		})
	}
}

// Rows are deleted as soon as every relay has published them. A relay with a small window is behind all the time.
func TestOrderStressBesideRetention(t *testing.T) {
	t.Parallel()
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, k, k.database(t))
			s.load.Per /= 2
			relays := []outlet{inProcess(relay.Config{Name: "stress"})}
			if !k.flagged { // which has one relay
				relays = append(relays, inProcess(relay.Config{Name: "behind", Window: 20}))
			}
			stop := s.retain(t)
			s.orderStress(t, relays...)
			stop()
		})
	}
}

// retain makes pass after pass until the returned func is called, which then waits until all is gone.
func (s *stage) retain(t *testing.T) (stop func()) {
	t.Helper()
	src, end, err := s.read(s.url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var retaining sync.WaitGroup
	retaining.Go(func() {
		defer end()
		for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) { // for on SQLite a pass is everybody's pause
			if _, err := src.Retain(ctx, 0); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("retain: %v", err)
			}
		}
	})
	t.Cleanup(retaining.Wait)
	t.Cleanup(cancel)
	return func() {
		table := map[bool]string{false: "waybill.outbox", true: "waybill_outbox"}[s.isSQLite()]
		if s.flagged {
			table += "_flagged"
		}
		left := Total(t.Context(), t, s.db)
		defer func() { t.Logf("%d rows are left", left) }()
		within(t, "every row to go", func() bool {
			if err := s.db.QueryRow(`SELECT count(*) FROM ` + table).Scan(&left); err != nil {
				t.Fatal(err)
			}
			return left == 0
		})
	}
}

// outlet is a relay and what has arrived where it publishes.
type outlet struct {
	relay.Config
	observe func(*testing.T) *Observer
}

func inProcess(cfg relay.Config) outlet {
	o := NewObserver()
	cfg.Sink = Sink{o}
	return outlet{cfg, func(*testing.T) *Observer { return o }}
}

// orderStress runs the load beside relays and whatever disturbs it, and compares what arrived with what was committed.
func (s *stage) orderStress(t *testing.T, relays ...outlet) {
	t.Helper()
	last := s.disturb(t)
	for _, r := range relays {
		running := s.startRelay(t, r.Config)
		defer running.stop()
		// A relay that is not known yet holds back no retention.
		within(t, r.Name+" to own its relay", func() bool { return running.Status().State == "running" })
	}
	arrive := func(what string) {
		t.Helper()
		for _, r := range relays {
			s.arrive(t, r.observe, what+" through "+r.Name)
		}
	}
	s.load.Run(t.Context(), t)
	// No stall: everything but the last transaction arrives while that one and the others are open.
	arrive("all but the last transaction")
	if last != nil {
		if err := last.Commit(); err != nil {
			t.Fatal(err)
		}
		arrive("the last transaction")
	}
	for _, r := range relays {
		s.check(t, r.observe(t), 0)
	}
}
