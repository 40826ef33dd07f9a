package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// The broker is away from the first moment on, so nothing is ever confirmed, and the relay is started again.
func TestRelayThatStartsNowKeepsThatPlaceWhenNothingIsConfirmed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.publish("k", "before")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	open := func() (*postgres.Source, relay.Tenure, relay.Reader) {
		src := s.source(postgres.Config{From: relay.Now})
		tenure, err := src.Acquire(ctx, relay.Claim{Relay: "relay", Owner: "owner", TTL: time.Minute})
		s.must(err)
		reader, err := src.Open(ctx, tenure.Position)
		s.must(err)
		return src, tenure, reader
	}
	budget := relay.Budget{Messages: 10, Bytes: 1000}

	src, tenure, reader := open()
	s.publish("k", "m")
	batch, err := reader.Read(ctx, budget)
	s.must(err)
	if len(batch.Messages) == 0 {
		s.must(src.Save(ctx, tenure.Lease, relay.Save{Position: batch.Position(0)}))
	}
	s.must(reader.Close())

	_, _, reader = open()
	defer reader.Close()
	batch, err = reader.Read(ctx, budget)
	if err != nil || len(batch.Messages) != 1 || batch.Messages[0].ID != "m" {
		t.Fatalf("after the restart came %v, %v", batch.Messages, err)
	}
}
