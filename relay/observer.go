package relay

import "context"

// Observer is told of every call of the sink, for metrics and traces. Its methods are called by the relay's goroutines and by
// the sink's, must be safe for that, and must not block.
type Observer interface {
	// Send is called before each Publish, with its messages. The context that it returns is given to Publish, and each outcome to
	// done, once a message: nil, or what the sink said.
	Send(ctx context.Context, messages []*Message) (_ context.Context, done func(i int, err error))
}
