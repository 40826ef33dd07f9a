package stress

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/waybillhq/waybill/relay"
)

// TestMain lets the test binary be the relay process that the tests kill.
func TestMain(m *testing.M) {
	if os.Getenv("WAYBILL_STRESS_RELAY") != "" {
		os.Exit(relayProcess())
	}
	os.Exit(m.Run())
}

func relayProcess() int {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	fail := func(err error) int {
		logger.Error("relay process", "error", err)
		return 1
	}
	source, end, err := kinds[os.Getenv("WAYBILL_STRESS_KIND")].read(os.Getenv("WAYBILL_STRESS_SOURCE"), logger)
	if err != nil {
		return fail(err)
	}
	defer end()
	sink, err := brokers[os.Getenv("WAYBILL_STRESS_BROKER")].sink(os.Getenv("WAYBILL_STRESS_SINK"))
	if err != nil {
		return fail(err)
	}
	lease, err := time.ParseDuration(os.Getenv("WAYBILL_STRESS_LEASE"))
	if err != nil {
		return fail(err)
	}
	r, err := relay.New(relay.Config{Name: "stress", Source: source, Store: source, Sink: sink, Lease: lease, Logger: logger,
		Window: window, Owner: os.Getenv("WAYBILL_STRESS_RELAY")})
	if err != nil {
		return fail(err)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	if err := r.Run(ctx); err != nil {
		return fail(err)
	}
	return 0
}

const window = 500
