package relay

import "context"

// Sink publishes to a broker.
//
// Publish sends the messages and calls confirm(i, err) exactly once for each messages[i], from any goroutine, before or
// after it returns, and at the latest soon after ctx ends. err says what became of the message:
//
//   - nil: the broker has stored it and routed it. A duplicate that the broker recognised and dropped is nil too.
//   - [Rejected](err): this very message can never be accepted as things stand (too large, refused by the broker).
//   - [Topic](err): its topic is missing or forbidden; other topics are fine.
//   - any other error: an outage or an unknown outcome. The message is sent again, for ever; no attempt is counted.
//
// ctx carries the send timeout: when it has ended, nothing may be written to the broker for this call any more, because
// the lease that allowed it may be over. The relay calls Publish from one goroutine; a sink that waits for confirmations
// inside Publish works, one batch at a time. Messages must not be changed or kept after their confirmation. Messages of
// one key are never in flight together, so a sink needs no order of its own.
type Sink interface {
	Publish(ctx context.Context, messages []*Message, confirm func(i int, err error))
	// Close waits for what is in flight and frees the connection. Publish is not called after it.
	Close() error
}

// MaxBatcher is a Sink that wants at most MaxBatch messages in one Publish. Others get at most 1,000.
type MaxBatcher interface{ MaxBatch() int }
