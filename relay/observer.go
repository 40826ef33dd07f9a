package relay

import "context"

// Observer is told of every call of the sink, for metrics and traces. Its methods are called by the relay's goroutines and by
// the sink's, must be safe for that, and must not block.
type Observer interface {
	// Send is called before each Publish, with its messages. The context that it returns, made from ctx, is given to Publish.
	// done gets each message's outcome, once and before the relay acts on it: nil, or what the sink said.
	Send(ctx context.Context, messages []*Message) (_ context.Context, done func(i int, err error))
}

// Outcome names what a sink said of a message: published, temporary, rejected or topic.
func Outcome(err error) string {
	switch {
	case err == nil:
		return "published"
	case IsRejected(err):
		return "rejected"
	case IsTopic(err):
		return "topic"
	}
	return "temporary"
}
