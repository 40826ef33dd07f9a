package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/waybillhq/waybill/cmd/waybill/internal/broker"
	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/telemetry"
)

// stopTime is how long a clean stop may take: a little less than what Kubernetes grants.
const stopTime = 25 * time.Second

type runCmd struct {
	Listen string `placeholder:"ADDRESS" help:"Where /livez, /readyz, /status and /metrics answer, or off. Defaults to listen of the configuration."`
}

func (c runCmd) Run(ctx context.Context, a *app) error {
	flags := map[string]string{}
	if c.Listen != "" {
		flags["listen"] = c.Listen
	}
	cfg, err := a.load(flags)
	if err != nil {
		return err
	}
	if len(cfg.Relays) == 0 {
		return &fault.Error{Code: "WB4604", What: "no relay is configured", Try: "WAYBILL_SOURCE=... WAYBILL_SINK=... waybill run, or waybill init", Exit: fault.Usage}
	}
	for _, w := range cfg.Warnings {
		a.log.Warn(w)
	}
	traces, flush := a.traces(ctx)
	defer flush()
	var brokers broker.Servers
	defer brokers.Close()
	var running []*running
	defer func() {
		for _, r := range running {
			r.close(a)
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(cfg.Relays)) {
		r, err := a.assemble(cfg, name, &brokers, traces)
		if err != nil {
			return err
		}
		running = append(running, r)
	}
	limitMemory(cfg, brokers.Running())
	for _, url := range brokers.URLs() {
		a.log.Info("the broker in this process listens", "url", url)
	}
	return a.supervise(ctx, cfg, running)
}

// limitMemory makes the collector work for it before the process grows beyond its windows: with bodies of 900 kB the peak
// fell from 105 to 73 MB, at the same rate. GOMEMLIMIT and the memory of a broker in this process go before.
func limitMemory(cfg *config.Config, brokers bool) {
	if os.Getenv("GOMEMLIMIT") != "" || brokers {
		return
	}
	limit := int64(16 << 20)
	for _, r := range cfg.Relays {
		limit += int64(r.WindowBytes) * 5 / 4
	}
	debug.SetMemoryLimit(limit)
}

// running is one relay of this process.
type running struct {
	name, sourceName, sinkName string
	relay                      *relay.Relay
	source                     source
	sink                       relay.Sink
	metrics                    *telemetry.Collector
}

func (a *app) assemble(cfg *config.Config, name string, brokers *broker.Servers, traces trace.TracerProvider) (*running, error) {
	rc := cfg.Relays[name]
	log := a.log
	src, err := openSource(cfg.Sources[rc.Source], log.With("relay", name, "source", rc.Source))
	if err != nil {
		return nil, err
	}
	sink, err := openSink(cfg.Sinks[rc.Sink], sinkUse{name, sourceURI(cfg, rc.Source), brokers, log.With("relay", name, "sink", rc.Sink)})
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	metrics := a.newCollector(cfg, name)
	r, err := relay.New(relay.Config{
		Name: name, Source: src, Store: src, Sink: sink, Logger: log, Topics: rc.Topics,
		OnRejected: relay.Policy(rc.OnRejected), Window: rc.Window, WindowBytes: int(rc.WindowBytes), Lease: rc.Lease, SendTimeout: rc.SendTimeout,
		Observer: observer(metrics, traces, rc.Source, cfg.Sinks[rc.Sink]),
	})
	if err != nil {
		return nil, errors.Join(err, src.Close(), sink.Close())
	}
	return &running{name, rc.Source, rc.Sink, r, src, sink, metrics}, nil
}

func sourceURI(cfg *config.Config, source string) string {
	if uri := cfg.Sources[source].URI; uri != "" {
		return uri
	}
	return "/waybill/" + source
}

func (r *running) close(a *app) {
	if err := errors.Join(r.sink.Close(), r.source.Close()); err != nil {
		a.log.Warn("closing", "relay", r.name, "error", err)
	}
}

// supervise runs the relays until ctx ends or one of them fails: a relay that must not go on ends the process, so that
// somebody looks.
func (a *app) supervise(ctx context.Context, cfg *config.Config, relays []*running) error {
	ctx, cancel := context.WithCancel(ctx)
	var retaining sync.WaitGroup
	defer retaining.Wait()
	defer cancel()
	stopProbes, err := a.serve(cfg.Listen, relays)
	if err != nil {
		return err
	}
	defer stopProbes()
	byFirst := map[string]bool{} // of a source's relays: the owner of that one deletes
	for _, r := range relays {
		if age := cfg.Sources[r.sourceName].Retention.Age; age > 0 && !byFirst[r.sourceName] {
			byFirst[r.sourceName] = true
			retaining.Go(func() { r.retain(ctx, age, a.log) })
		}
	}

	ended := make(chan error, len(relays))
	for _, r := range relays {
		go func() {
			err := a.runChecked(ctx, cfg, r)
			if err != nil {
				err = fmt.Errorf("relay %s ended: %w", r.name, err)
			}
			ended <- err
		}()
	}
	var tooLate <-chan time.Time
	stopping := ctx.Done()
	var faults []error
	for left := len(relays); left > 0; {
		select {
		case <-stopping:
			stopping = nil
			tooLate = time.After(stopTime)
			a.log.Info("stopping: waiting for confirmations and saving the cursors", "at_most", stopTime.String())
		case err := <-ended:
			left--
			if err != nil {
				a.log.Error("a relay ended; stopping the others", "error", err)
				faults = append(faults, err)
				cancel()
			}
		case <-tooLate:
			return &fault.Error{Code: "WB4606", What: fmt.Sprintf("the stop took longer than %v; what was in flight may be sent again", stopTime), Why: errors.Join(faults...),
				Try: "nothing: the next start goes on from the saved cursor"}
		}
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	a.log.Info("stopped cleanly")
	return nil
}
