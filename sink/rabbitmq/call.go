package rabbitmq

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/waybillhq/waybill/relay"
)

// call is one Publish until its last confirmation.
type call struct {
	ctx     context.Context
	link    *link
	confirm func(int, error)
	ended   func()
	left    atomic.Int32
	settled []atomic.Bool
	sizes   []int
	writing atomic.Bool   // a message of this call may be on its way into the socket
	sent    chan struct{} // closed when no message is touched any more

	hopeless sync.Map // topic to error: a missing or forbidden topic is not tried again in the same call
}

func (l *link) publish(ctx context.Context, messages []*relay.Message, confirm func(int, error), done func()) {
	c := &call{ctx: ctx, link: l, confirm: confirm, sent: make(chan struct{}), settled: make([]atomic.Bool, len(messages)), sizes: make([]int, len(messages))}
	c.left.Store(int32(len(messages)))
	stop := context.AfterFunc(ctx, c.expire)
	c.ended = func() {
		stop()
		done()
	}
	c.send(messages)
}

func (c *call) send(messages []*relay.Message) {
	defer close(c.sent)
	for i, m := range messages {
		c.link.unblocked(c.ctx)
		if !c.sendOne(i, m) {
			return // expire fails this one and the rest
		}
	}
}

// sendOne says first that it writes and then looks at the time; expire does it the other way round. So one of the two
// always notices the other.
func (c *call) sendOne(i int, m *relay.Message) bool {
	c.writing.Store(true)
	defer c.writing.Store(false)
	if c.ctx.Err() != nil {
		return false
	}
	if err, found := c.hopeless.Load(m.Topic); found {
		c.settle(i, err.(error))
		return true
	}
	if err := c.link.ripening(m.Topic); err != nil {
		c.settle(i, err)
		return true
	}
	c.sizes[i] = len(m.Payload)
	p, err := c.link.encode(m)
	if err != nil {
		c.settle(i, err)
		return true
	}
	c.link.send(c, i, m, p)
	return true
}

// fail settles f, and with an error of its topic gives up on that for the rest of this call.
func (c *call) fail(f *flight, err error) {
	if relay.IsTopic(err) {
		c.hopeless.Store(f.topic, err)
	}
	c.settle(f.index, err)
}

func (c *call) settle(i int, err error) {
	if c.settled[i].CompareAndSwap(false, true) {
		c.tell(i, err)
	}
}

func (c *call) tell(i int, err error) {
	c.confirm(i, err)
	if c.left.Add(-1) == 0 {
		c.ended()
	}
}

// expire ends the call at the end of its time. A message that is being written must not leave this process any more, nor
// one that the kernel holds; if the connection is stuck, cutting it also frees send. What is open is claimed first: its reason
// is the time, not the cut, and what is just being told is not open.
func (c *call) expire() {
	var open []int
	for i := range c.settled {
		if c.settled[i].CompareAndSwap(false, true) {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return
	}
	err := errUnconfirmed(context.Cause(c.ctx))
	b := c.link.blocked.Load() // the end of the link would end it
	if b != nil {
		err = errBlocked(b.reason)
	}
	if c.writing.Load() {
		c.link.cut()
	}
	<-c.sent
	if b == nil && unsent(c.link.raw) { // a server that blocks has what was written
		c.link.cut()
	}
	for _, i := range open {
		c.tell(i, err)
	}
}
