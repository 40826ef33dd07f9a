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
// one key are never in flight together, so a sink needs no order of its own; an [OrderedBatch] is the exception.
//
// Whoever retries inside Publish must have given up when ctx ends: a client that goes on by itself writes after the lease.
type Sink interface {
	Publish(ctx context.Context, messages []*Message, confirm func(i int, err error))
	// Close waits for what is in flight and frees the connection. Publish is not called after it.
	Close() error
}

// MaxBatcher is a Sink that wants at most MaxBatch messages in one Publish. Others get at most 1,000.
type MaxBatcher interface{ MaxBatch() int }

// OrderedBatch is a Sink that keeps order inside one Publish: of the messages given to it that share key and topic, each is
// stored only behind those before it. Once one was not stored, for whatever reason, no later one is; and behind one that is
// not confirmed none is: those get an error that is neither Rejected nor Topic. The relay then puts many messages of one
// key into one Publish, and the next of that key only once all of them have their outcome. The method has no other use.
type OrderedBatch interface{ OrderedBatch() }

// Fencer is a Sink whose broker refuses the writes of an owner that has a successor. Fence is called once at the beginning of
// each tenure, before the first Publish, does no I/O and keeps the epoch: the first Publish after it tells the broker.
// A Publish that finds itself fenced confirms its messages with an error that is [ErrLost], and must not
// fence again before the next call of Fence: that would shut out the new owner.
type Fencer interface{ Fence(epoch int64) }

// Checker is a Sink that can tell whether the broker's settings keep the promise. Check connects and changes nothing.
// topics are those whose queues, streams or logs are looked at; without any, what can be known without a topic. An error
// means that the broker could not be asked.
type Checker interface {
	Check(ctx context.Context, topics []string) ([]Finding, error)
}

// Finding is a setting of a broker that breaks or weakens the promise.
type Finding struct {
	// Refuse tells that a confirmed message can be lost as things stand; without it the finding is a warning.
	Refuse bool
	// Text is what, where, why, with the code WBnnnn in front and "Try: ..." at the end.
	Text string
}
