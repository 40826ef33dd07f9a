package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/doctor"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/relay"
)

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// examineSink looks at what holds the topics; unread are sources that may have more, but could not be asked.
func (a *app) examineSink(ctx context.Context, cfg *config.Config, name string, topics, unread []string) []doctor.Result {
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
		if err == nil && len(unread) > 0 {
			found = append(found, doctor.Result{Level: doctor.Unknown, Code: "WB4708", Text: "it answers, but what holds the topics in the outbox was not looked at, because they could not be read: source " + strings.Join(unread, ", "),
				Try: "repair the source, and run waybill doctor again"})
		}
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

// runChecked runs the relay, and beside it looks at the settings of its broker, when that answers. A broker that is down is no
// finding.
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
		if err := a.checkBroker(ctx, cfg, r, checker, time.Minute); err != nil {
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

// enough bounds the topics that are looked at, and with them what a look remembers.
const enough = 10_000

// checkBroker looks at the broker, and every so often at what holds the topics that are new in the outbox. It warns of what it
// finds, and returns what must not go on.
func (a *app) checkBroker(ctx context.Context, cfg *config.Config, r *running, checker relay.Checker, every time.Duration) error {
	log := a.log.With("relay", r.name, "sink", r.sinkName)
	looked := map[string]bool{}
	told := map[relay.Finding]bool{} // what is about no topic comes again
	for first, pause := true, time.Second; first || len(looked) < enough; {
		rest := every
		findings, err := a.findings(ctx, cfg, r, checker, looked, first)
		if err == nil {
			first, pause = false, time.Second
		} else {
			level := slog.LevelDebug // the relay itself says what does not answer
			if pause == 16*time.Second {
				level = slog.LevelWarn
			}
			log.Log(ctx, level, "the settings of the broker could not be looked at yet", "error", err)
			findings, rest, pause = nil, pause, min(2*pause, 30*time.Second)
		}
		findings = slices.DeleteFunc(findings, func(f relay.Finding) bool { return told[f] })
		for _, f := range findings {
			told[f] = true
		}
		if err := a.tell(log, cfg, r, findings); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
	}
	return nil
}

func (a *app) tell(log *slog.Logger, cfg *config.Config, r *running, findings []relay.Finding) error {
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

// findings are those for the topics that are not in looked yet, and puts these there. Without any the broker is not asked, unless
// it must be.
func (a *app) findings(ctx context.Context, cfg *config.Config, r *running, checker relay.Checker, looked map[string]bool, must bool) ([]relay.Finding, error) {
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
	fresh := slices.DeleteFunc(topicsOf(cfg, r.name, held), func(topic string) bool { return looked[topic] })
	if len(fresh) == 0 && !must {
		return nil, nil
	}
	found, err := checker.Check(ctx, fresh)
	if err == nil {
		for _, topic := range fresh {
			looked[topic] = true
		}
	}
	return found, err
}
