package stress

import (
	"context"
	"errors"
	"log/slog"
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
			s.orderStress(t, relay.Config{Name: "stress"})
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
			relays := []relay.Config{{Name: "stress"}}
			if !k.flagged { // which has one relay
				relays = append(relays, relay.Config{Name: "behind", Window: 20})
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

// orderStress runs the load beside relays and whatever disturbs it, and compares what arrived with what was committed.
func (s *stage) orderStress(t *testing.T, relays ...relay.Config) {
	t.Helper()
	last := s.disturb(t)
	observers := make([]*Observer, len(relays))
	for i, cfg := range relays {
		observers[i] = NewObserver()
		cfg.Sink = Sink{observers[i]}
		stop := s.startRelay(t, cfg)
		defer stop()
	}
	arrive := func(what string) {
		t.Helper()
		for _, o := range observers {
			s.arrive(t, o, what)
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
	for _, o := range observers {
		v := o.Check(Committed(t.Context(), t, s.db))
		t.Log(v)
		if !v.OK() || v.Duplicates != 0 {
			t.Error("the promise is broken")
		}
	}
}
