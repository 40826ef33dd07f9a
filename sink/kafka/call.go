package kafka

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/waybillhq/waybill/relay"
)

// call is one Publish until its last confirmation.
type call struct {
	ctx     context.Context
	sink    *Sink
	confirm func(int, error)
	stop    func() bool
	left    atomic.Int32
	settled []atomic.Bool
	buffer  atomic.Pointer[[]byte] // of the records; nil if one may be read after the call

	// Guarded by sink.mu.
	expired  bool
	requests map[*request]bool
	broken   map[line]int // where the first message of a topic and key failed: none behind it may be stored
}

// line is what keeps its order inside a call.
type line struct{ topic, key string }

// entry is one message on its way, encoded.
type entry struct {
	call   *call
	index  int
	line   line
	id     string
	record []byte // from the key to the last header
	millis int64
}

func newCall(ctx context.Context, s *Sink, n int, confirm func(int, error)) *call {
	c := &call{ctx: ctx, sink: s, confirm: confirm, settled: make([]atomic.Bool, n), requests: map[*request]bool{}}
	c.left.Store(int32(n))
	s.mu.Lock() // expire waits for it, and so sees stop
	defer s.mu.Unlock()
	c.stop = context.AfterFunc(ctx, c.expire)
	return c
}

// give encodes the messages and hands each to its topic.
func (c *call) give(messages []*relay.Message) {
	entries, failed := make([]entry, 0, len(messages)), []outcome(nil)
	size := 0
	for _, m := range messages {
		size += len(m.Payload) + 2*len(m.Key) + 400
	}
	e := encoder{source: c.sink.config.Source, buffer: slices.Grow(spare(), size)}
	for i, m := range messages {
		at := entry{call: c, index: i, line: line{m.Topic, m.Key}, id: m.ID, millis: millis(m)}
		var err error
		if at.record, err = e.encode(m); err == nil && len(at.record)+recordOverhead > c.sink.config.MaxBatchBytes {
			err = errTooLarge(m, len(at.record), c.sink.config.MaxBatchBytes)
		}
		if err != nil {
			failed = append(failed, fail([]entry{at}, err)...) // no lock: nobody else has seen this call's entries yet
			continue
		}
		entries = append(entries, at)
	}
	c.buffer.Store(&e.buffer)
	s := c.sink
	s.mu.Lock()
	for from := 0; from < len(entries); {
		to := from + 1
		for to < len(entries) && entries[to].line.topic == entries[from].line.topic {
			to++
		}
		failed = append(failed, s.topic(entries[from].line.topic).take(entries[from:to])...)
		from = to
	}
	s.mu.Unlock()
	settle(failed)
}

func (c *call) breakAt(e entry) {
	if e.line.key == "" {
		return
	}
	if c.broken == nil {
		c.broken = map[line]int{}
	}
	if at, ok := c.broken[e.line]; !ok || e.index < at {
		c.broken[e.line] = e.index
	}
}

// isBroken tells whether e stands behind a failure of its own topic and key.
func (c *call) isBroken(e entry) bool {
	at, ok := c.broken[e.line]
	return ok && at < e.index
}

// expire ends the call at the end of its time: what is not written yet never will be, and what is under way is cut off.
func (c *call) expire() {
	s := c.sink
	s.mu.Lock()
	c.expired = true
	c.buffer.Store(nil)
	for r := range c.requests {
		r.cancel()
	}
	s.mu.Unlock()
	err := errUnconfirmed(context.Cause(c.ctx), s.trouble.Load())
	for i := range c.settled {
		c.settle(i, err)
	}
}

func (c *call) settle(i int, err error) {
	if !c.settled[i].CompareAndSwap(false, true) {
		return
	}
	c.confirm(i, err)
	if c.left.Add(-1) == 0 {
		c.stop()
		if b := c.buffer.Load(); b != nil {
			spares.Put(b)
		}
		c.sink.flight.Done()
	}
}

// outcome is what became of an entry, told when no lock is held.
type outcome struct {
	entry
	err error
}

func settle(list []outcome) {
	for _, o := range list {
		o.call.settle(o.index, o.err)
	}
}

// fail marks the entries as failed, so that none behind them is stored. A fault of the message or the topic is told of the
// first of a key: what stands behind it only waits. Guarded by sink.mu.
func fail(entries []entry, err error) []outcome {
	list := make([]outcome, 0, len(entries))
	for _, e := range entries {
		why := err
		if e.call.isBroken(e) && (relay.IsTopic(err) || relay.IsRejected(err)) {
			why = errBehind(e)
		}
		e.call.breakAt(e)
		list = append(list, outcome{e, why})
	}
	return list
}
