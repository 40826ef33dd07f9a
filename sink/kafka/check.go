package kafka

import (
	"context"

	"github.com/waybillhq/waybill/relay"
)

// Check implements relay.Checker.
func (s *Sink) Check(ctx context.Context, topics []string) ([]relay.Finding, error) {
	return nil, nil
}
