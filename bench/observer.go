package main

import (
	"context"
	"fmt"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/telemetry"
)

// observer measures what metrics and traces cost a relay: the drain to a null sink, with and without, alternating.
func (b *bench) observer() {
	url, db := b.database(false)
	backlog := b.million / 4
	b.must(refill(db, 0, backlog, 100_000))
	fmt.Printf("\n## Observer\n\nA backlog of %d messages to a null sink; median (min-max) of %d. Processor time is the relay's own, and steadier than the rate where others use the machine.\n\n", backlog, b.rounds)
	fmt.Println("| observer | messages/s | ratio, paired median | processor time a message, µs | more, paired median |")
	fmt.Println("|---|---|---|---|---|")
	measure := func(kinds ...string) {
		rates, cpu := map[string]series{}, map[string]series{}
		for round := range b.rounds {
			for _, kind := range append([]string{""}, kinds...) {
				got := b.run("relay", url, fmt.Sprintf("o%s-%d", kind, round), "", "null"+kind, fmt.Sprint(backlog))
				rates[kind], cpu[kind] = append(rates[kind], got["rate"]), append(cpu[kind], got["cpu"])
			}
			_, err := db.Exec(`DELETE FROM waybill.cursor`)
			b.must(err)
		}
		fmt.Printf("| none | %v | | %v | |\n", rates[""], cpu[""])
		for _, kind := range kinds {
			more := make(series, len(cpu[kind]))
			for i := range more {
				more[i] = cpu[kind][i] - cpu[""][i]
			}
			fmt.Printf("| %s | %v | %.2f | %v | %.2f |\n", kind[1:], rates[kind], rates[kind].over(rates[""]).median(), cpu[kind], more.median())
		}
	}
	measure("+metrics", "+traces of every message")
	_, err := db.Exec(`UPDATE waybill.outbox SET headers = replace(headers, '-01"', '-00"')`)
	b.must(err)
	_, err = db.Exec(`VACUUM ANALYZE waybill.outbox`)
	b.must(err)
	measure("+traces, none sampled")
}

// nullObserver is what "null+..." asks for.
func nullObserver(to string) relay.Observer {
	switch kind := strings.TrimPrefix(to, "null"); {
	case strings.HasPrefix(kind, "+metrics"):
		return telemetry.NewCollector(telemetry.CollectorConfig{Relay: "r", Source: "s", Sink: "n"})
	case strings.HasPrefix(kind, "+traces"):
		return telemetry.NewSpans(telemetry.SpansConfig{Provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(nowhere{}))})
	}
	return nil
}

// nowhere is a collector of traces that takes everything at once.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                             { return nil }
