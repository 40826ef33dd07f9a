package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/look"
	"github.com/waybillhq/waybill/telemetry"
)

const (
	lookPause   = 10 * time.Second // between two looks into a database, however often somebody scrapes
	lookTimeout = 3 * time.Second
)

// metricsHandler answers scrapes.
func (a *app) metricsHandler(relays []*running) http.Handler {
	v := buildVersion()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), telemetry.NewBuildInfo(v.Version, v.Commit))
	for _, r := range relays {
		r.metrics.Watch(r.relay.Status)
		registry.MustRegister(r.metrics)
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

func (a *app) newCollector(cfg *config.Config, name string) *telemetry.Collector {
	r := cfg.Relays[name]
	l := &outboxLook{read: func(ctx context.Context) (telemetry.Outbox, error) {
		return a.lookAtOutbox(ctx, cfg.Sources[r.Source], name)
	}}
	return telemetry.NewCollector(telemetry.CollectorConfig{Relay: name, Source: r.Source, Sink: r.Sink, Outbox: func() telemetry.Outbox {
		outbox, err := l.get()
		if err != nil {
			a.log.Debug("metrics of the outbox", "relay", name, "error", err)
		}
		return outbox
	}})
}

// outboxLook remembers what a database said, or that it did not answer.
type outboxLook struct {
	read func(context.Context) (telemetry.Outbox, error)

	mu   sync.Mutex
	at   time.Time
	last telemetry.Outbox
}

func (l *outboxLook) get() (_ telemetry.Outbox, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.at) >= lookPause {
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		defer cancel()
		l.last, err = l.read(ctx)
		l.at = time.Now()
	}
	return l.last, err
}

// lookAtOutbox connects anew each time: a connection kept would fail after the database's next restart.
func (a *app) lookAtOutbox(ctx context.Context, source config.Source, relay string) (o telemetry.Outbox, err error) {
	db, addr, err := a.database(ctx, source, false)
	if err != nil {
		return o, err
	}
	defer db.Close()
	found, err := look.Look(ctx, db, addr.dialect, lookAt(source), relay)
	if err != nil {
		return o, err
	}
	bytes, err := look.TableBytes(ctx, db, addr.dialect, lookAt(source))
	if err != nil {
		return o, err
	}
	return outboxOf(found, bytes), nil
}

// outboxOf counts the topics that wait, too. Of these it is known since when they do, which is how old their oldest message is at least.
func outboxOf(found look.Relay, bytes int64) telemetry.Outbox {
	aside := found.Held + found.Parked
	o := telemetry.Outbox{TableBytes: &bytes, Parked: &aside}
	if found.Pending == nil {
		return o
	}
	pending, oldest := *found.Estimate, time.Duration(0)
	if found.Oldest != nil {
		oldest = *found.Oldest
	}
	for _, b := range found.Branches {
		if b.Pending == nil {
			return o
		}
		if *b.Pending > 0 {
			pending, oldest = pending+*b.Pending, max(oldest, b.Since)
		}
	}
	if o.Pending = &pending; pending == 0 || oldest > 0 { // a table without created_at has no ages
		o.Oldest = &oldest
	}
	return o
}
