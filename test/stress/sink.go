package stress

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/waybillhq/waybill/relay"
)

// Sink shows every message to an observer and confirms it a little later, in no particular order.
type Sink struct{ *Observer }

// Publish implements relay.Sink.
func (s Sink) Publish(_ context.Context, messages []*relay.Message, confirm func(int, error)) {
	for i, m := range messages {
		s.See(m.ID, m.Payload)
		time.AfterFunc(rand.N(3*time.Millisecond), func() { confirm(i, nil) })
	}
}

// Close implements relay.Sink.
func (Sink) Close() error { return nil }
