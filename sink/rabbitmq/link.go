package rabbitmq

import (
	"cmp"
	"context"
	"hash/maphash"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybillhq/waybill/relay"
)

// lanes is the number of channels that share the messages by their key. One more is for topics that broke a channel, so
// that they take no other topic with them again.
const lanes = 4

var seed = maphash.MakeSeed()

// link is one connection, which is never repaired: when it breaks, everything in it fails and the next Publish makes
// another. Channels are: a server closes one for a single bad message.
type link struct {
	config *Config
	conn   *amqp.Connection
	raw    net.Conn
	gone   atomic.Bool // raw was cut
	frame  int         // the largest payload of a frame, 0 for no limit

	maxBody atomic.Int64
	blocked atomic.Pointer[blocking]
	apart   sync.Map // topics that broke a channel
	asking  sync.Map // topic to func() error: why its messages were returned
	young   sync.Map // topic to the time until which nothing is confirmed to it
	lanes   [lanes + 1]lane
}

type lane struct {
	mu      sync.Mutex
	session *session
}

// blocking is the time during which the server does not read, because memory or disk run out.
type blocking struct {
	reason string
	over   chan struct{}
}

// newLink opens the channels before anything is published: a server that blocks publishers answers no request either.
func newLink(config *Config, conn *amqp.Connection, raw net.Conn) (*link, error) {
	l := &link{config: config, conn: conn, raw: raw}
	l.maxBody.Store(int64(config.MaxMessageBytes))
	if size := conn.Config.FrameSize; size > 0 {
		l.frame = size - 8 // type, channel, size, end
	}
	go l.watch(conn.NotifyBlocked(make(chan amqp.Blocking, 1)))
	var opening sync.WaitGroup
	var faults [lanes]error
	for i := range lanes {
		opening.Go(func() { l.lanes[i].session, faults[i] = l.open() })
	}
	opening.Wait()
	return l, cmp.Or(faults[:]...)
}

func (l *link) watch(notices <-chan amqp.Blocking) {
	end := func() {
		if b := l.blocked.Swap(nil); b != nil {
			close(b.over)
		}
	}
	for n := range notices {
		if end(); n.Active {
			l.blocked.Store(&blocking{n.Reason, make(chan struct{})})
		}
	}
	end()
}

// unblocked waits while the server does not read.
func (l *link) unblocked(ctx context.Context) {
	for b := l.blocked.Load(); b != nil; b = l.blocked.Load() {
		select {
		case <-b.over:
		case <-ctx.Done():
			return
		}
	}
}

func (l *link) broken() bool { return l.gone.Load() || l.conn.IsClosed() }

// cut ends the connection at once: nothing that is still in this process or in its socket leaves them any more.
func (l *link) cut() {
	l.gone.Store(true)
	if tcp, ok := l.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it fails when the connection is closed already
	}
	l.raw.Close()
}

func (l *link) close() {
	_ = l.conn.CloseDeadline(time.Now().Add(time.Second)) // all is confirmed: a server that does not answer loses nothing
	l.cut()
}

// send gives a message to the channel of its key.
func (l *link) send(c *call, i int, m *relay.Message, p amqp.Publishing) {
	n := uint64(i) % lanes
	if m.Key != "" {
		n = maphash.String(seed, m.Key) % lanes
	}
	if _, found := l.apart.Load(m.Topic); found {
		n = lanes
	}
	lane := &l.lanes[n]
	lane.mu.Lock()
	defer lane.mu.Unlock()
	if lane.session == nil || lane.session.ch.IsClosed() {
		s, err := l.open()
		if err != nil {
			c.settle(i, errLost(err))
			return
		}
		lane.session = s
	}
	lane.session.publish(&flight{call: c, index: i, id: m.ID, topic: m.Topic}, p)
}
