package rabbitmq

import (
	"context"

	"github.com/waybillhq/waybill/relay"
)

// Check implements relay.Checker.
func (s *Sink) Check(ctx context.Context, topics []string) ([]relay.Finding, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.flight.Done()
	_, err := s.connected(ctx)
	return nil, err
}
