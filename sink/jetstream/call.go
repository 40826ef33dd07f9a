package jetstream

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/relay"
)

// call is one Publish until its last confirmation.
type call struct {
	ctx     context.Context
	link    *link
	confirm func(int, error)
	ended   func()
	left    atomic.Int32
	items   []item
	began   uint64        // on the link's clock
	sent    chan struct{} // closed when no message is touched any more: only then may others than its own reply fail it
	sentAt  uint64        // on the link's clock, valid when sent is closed

	mu     sync.Mutex
	asking bool
	silent []int // messages whose subject nobody listens on, for ask
}

type item struct {
	topic   string
	settled atomic.Bool
}

func (l *link) publish(ctx context.Context, source string, messages []*relay.Message, confirm func(int, error), done func()) {
	c := &call{ctx: ctx, link: l, confirm: confirm, sent: make(chan struct{}), items: make([]item, len(messages))}
	c.left.Store(int32(len(messages)))
	l.mu.Lock()
	c.began = l.clock.Add(1)
	l.calls[c.began] = c
	l.mu.Unlock()
	stop := context.AfterFunc(ctx, c.expire)
	c.ended = func() {
		stop()
		l.mu.Lock()
		delete(l.calls, c.began)
		l.mu.Unlock()
		done()
	}
	c.send(l.inbox+strconv.FormatUint(c.began, 36)+"-", source, messages)
	if l.nc.IsClosed() {
		c.fail(errLost(l.nc.LastError()), nil) // it may have closed before it knew of this call
	}
}

func (c *call) send(inbox, source string, messages []*relay.Message) {
	defer func() {
		c.sentAt = c.link.clock.Add(1)
		close(c.sent)
	}()
	e := encoder{source: source, msg: nats.Msg{Header: nats.Header{}}}
	for i, m := range messages {
		c.items[i].topic = m.Topic
		if c.ctx.Err() != nil {
			return // expire fails this one and the rest
		}
		err := e.encode(m)
		if err == nil {
			e.msg.Reply = inbox + strconv.FormatUint(uint64(i), 36)
			err = c.link.nc.PublishMsg(&e.msg) // copies the message
			if err != nil {
				err = errPublish(m, err, c.link.nc.MaxPayload())
			}
		}
		if err != nil {
			c.settle(i, err)
		}
	}
}

func (c *call) settle(i int, err error) {
	if !c.items[i].settled.CompareAndSwap(false, true) {
		return
	}
	c.confirm(i, err)
	if c.left.Add(-1) == 0 {
		c.ended()
	}
}

// fail settles what is open and concerns a topic that which picks; nil picks all.
func (c *call) fail(err error, which func(topic string) bool) {
	<-c.sent
	for i := range c.items {
		if which == nil || which(c.items[i].topic) {
			c.settle(i, err)
		}
	}
}

// expire ends the call at the end of its time. What it has not written yet must never leave this process; if the connection
// is stuck, cutting it also frees send. A reply to a later call proves that all of this one has left.
func (c *call) expire() {
	if c.allSettled() {
		return
	}
	select {
	case <-c.sent:
		if c.link.heard.Load() < c.sentAt {
			c.link.purge()
		}
	default:
		c.link.purge()
	}
	c.fail(errUnconfirmed(context.Cause(c.ctx), c.link.trouble.Load()), nil)
}

func (c *call) allSettled() bool {
	for i := range c.items {
		if !c.items[i].settled.Load() {
			return false
		}
	}
	return true
}

// unanswered takes a message that the server could give to nobody. While a stream has no leader that is so as well,
// therefore the server is asked before the topic is called missing.
func (c *call) unanswered(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = append(c.silent, i)
	if !c.asking {
		c.asking = true
		go c.ask()
	}
}

func (c *call) ask() {
	known := map[string]error{}
	for {
		c.mu.Lock()
		open := c.silent
		c.silent = nil
		c.asking = len(open) > 0
		c.mu.Unlock()
		if len(open) == 0 {
			return
		}
		for _, i := range open {
			topic := c.items[i].topic
			if _, ok := known[topic]; !ok {
				known[topic] = c.link.whyUnanswered(c.ctx, topic)
			}
			c.settle(i, known[topic])
		}
	}
}

func (l *link) whyUnanswered(ctx context.Context, topic string) error {
	if l.blind.Load() {
		return errNoStream(topic)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	name, err := l.js.StreamNameBySubject(ctx, topic)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), err != nil && l.blind.Load():
		return errNoStream(topic)
	case err != nil:
		return errNotReady(topic, err)
	}
	return errNoLeader(topic, name)
}
