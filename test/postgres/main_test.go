package postgres

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/source/postgres"
)

// TestMain lets the test binary be a relay process whose memory a test measures.
func TestMain(m *testing.M) {
	if url := os.Getenv("WAYBILL_TEST_RELAY"); url != "" {
		if err := relayProcess(url, os.Getenv("WAYBILL_TEST_RELAY_SINK")); err != nil {
			fmt.Println("relay process:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Most tests wait for servers, for time-outs and for outages, not for a processor.
	flag.Parse()
	if err := flag.Set("test.parallel", fmt.Sprint(4*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	status := m.Run()
	talking.Close()
	os.Exit(status)
}

// relayProcess relays until SIGTERM, and then says how much memory it took. Without a broker it confirms everything at once.
func relayProcess(url, broker string) error {
	source, err := postgres.New(url, postgres.Config{})
	if err != nil {
		return err
	}
	sink := relay.Sink(nullSink{})
	if broker != "" {
		if sink, err = jetstream.New(broker, jetstream.Config{}); err != nil {
			return err
		}
	}
	r, err := relay.New(relay.Config{Name: "orders", Source: source, Store: source, Sink: sink, Logger: slog.New(slog.NewTextHandler(os.Stdout, nil))})
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	if err := r.Run(ctx); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM") {
			fmt.Print(line)
		}
	}
	return nil
}

type nullSink struct{}

func (nullSink) Publish(_ context.Context, messages []*relay.Message, confirm func(int, error)) {
	for i := range messages {
		confirm(i, nil)
	}
}

func (nullSink) Close() error { return nil }
