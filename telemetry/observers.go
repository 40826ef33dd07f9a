package telemetry

import (
	"context"

	"github.com/waybillhq/waybill/relay"
)

// Observers tells all of them, in their order.
func Observers(list ...relay.Observer) relay.Observer { return observers(list) }

type observers []relay.Observer

func (o observers) Send(ctx context.Context, messages []*relay.Message) (context.Context, func(i int, err error)) {
	each := make([]func(int, error), len(o))
	for i, observer := range o {
		ctx, each[i] = observer.Send(ctx, messages)
	}
	return ctx, func(i int, err error) {
		for _, done := range each {
			done(i, err)
		}
	}
}
