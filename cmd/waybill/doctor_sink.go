package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/doctor"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/relay"
)

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (a *app) examineSink(ctx context.Context, cfg *config.Config, name string, topics []string) []doctor.Result {
	use := sinkUse{relay: "doctor", uri: "/waybill/doctor"}
	for _, r := range sortedNames(cfg.Relays) {
		if cfg.Relays[r].Sink == name {
			use.relay = r // what is asked may depend on who publishes; nothing is published
			break
		}
	}
	check := func(ctx context.Context) (string, []doctor.Result, error) {
		sink, err := openSink(cfg.Sinks[name], use)
		if err != nil {
			return "", nil, err
		}
		if sink == nil {
			return "the broker lives in the process of waybill run, stores in files and refuses when it is full", nil, nil
		}
		defer sink.Close()
		checker, ok := sink.(relay.Checker)
		if !ok {
			return "", nil, errors.New("this kind of sink cannot look at its broker")
		}
		findings, err := checker.Check(ctx, topics)
		found := append(doctor.Findings(findings), unreachable(err)...)
		return fmt.Sprintf("it answers, and is as the promise needs it; topics looked at: %d", len(topics)), found, nil
	}
	results := doctor.Run(ctx, "sink "+name, a.Timeout, []doctor.Check{{Name: "broker", Make: check}})
	for i, r := range results {
		if r.Level == doctor.Refuse && cfg.Sinks[name].AllowUnsafe {
			results[i].Level, results[i].Text = doctor.Warn, r.Text+" (allow_unsafe)"
		}
	}
	return results
}

// runChecked runs the relay, and beside it looks once at the settings of its broker, when that answers. A broker that is down
// is no finding.
func (a *app) runChecked(ctx context.Context, cfg *config.Config, r *running) error {
	checker, ok := r.sink.(relay.Checker)
	if !ok {
		return r.relay.Run(ctx)
	}
	ctx, end := context.WithCancelCause(ctx)
	var checking sync.WaitGroup
	defer checking.Wait()
	defer end(nil)
	checking.Go(func() {
		if err := a.checkBroker(ctx, cfg, r, checker); err != nil {
			end(err)
		}
	})
	err := r.relay.Run(ctx)
	var unsafe *fault.Error
	if err == nil && errors.As(context.Cause(ctx), &unsafe) {
		return unsafe
	}
	return err
}

// checkBroker warns of what it finds, and returns what must not go on.
func (a *app) checkBroker(ctx context.Context, cfg *config.Config, r *running, checker relay.Checker) error {
	log := a.log.With("relay", r.name, "sink", r.sinkName)
	findings, err := a.findings(ctx, cfg, r, checker)
	for pause := time.Second; err != nil; pause = min(2*pause, 30*time.Second) {
		level := slog.LevelDebug // the relay itself says what does not answer
		if pause == 16*time.Second {
			level = slog.LevelWarn
		}
		log.Log(ctx, level, "the settings of the broker could not be looked at yet", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		findings, err = a.findings(ctx, cfg, r, checker)
	}
	var refused error
	for _, f := range doctor.Findings(findings) {
		if f.Level == doctor.Refuse && !cfg.Sinks[r.sinkName].AllowUnsafe && refused == nil {
			refused = &fault.Error{Code: "WB4701", Where: "sink " + r.sinkName, What: "confirmed messages can be lost as things stand: " + f.Code + " " + f.Text,
				Try: f.Try + "; or allow_unsafe: true on the sink, if that loss is allowed. waybill doctor shows all"}
			continue
		}
		log.Warn(f.Code+" "+f.Text, "try", f.Try)
	}
	return refused
}

func (a *app) findings(ctx context.Context, cfg *config.Config, r *running, checker relay.Checker) ([]relay.Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	s, _, err := doctorSource(cfg, r.sourceName)
	if err != nil {
		return nil, err
	}
	defer s.DB.Close()
	held, err := s.Topics(ctx)
	if err != nil {
		return nil, err
	}
	return checker.Check(ctx, topicsOf(cfg, r.name, held))
}
