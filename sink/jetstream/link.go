package jetstream

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// link is one connection, which is never repaired: when it breaks, everything in it fails and the next Publish makes
// another. The client's own reconnecting would keep messages and write them when the time allowed for it is over.
type link struct {
	nc    *nats.Conn
	js    jetstream.JetStream
	wire  *wire
	made  bool   // the stream, with Create
	inbox string // what replies are sent to: inbox + beginning of the call + "-" + index of the message

	mu    sync.Mutex
	calls map[uint64]*call // by their beginning
	clock atomic.Uint64    // counts beginnings and ends of sending
	heard atomic.Uint64    // the beginning of the newest call that had any reply

	trouble atomic.Pointer[error] // the newest error that the server reported outside of any reply
	blind   atomic.Bool           // the server does not let this user ask for streams
}

func dial(ctx context.Context, config Config, servers []string) (*link, error) {
	o, err := config.options(servers)
	if err != nil {
		return nil, err
	}
	l := &link{wire: new(wire), calls: map[uint64]*call{}}
	reported, closed := o.AsyncErrorCB, o.ClosedCB
	o.AsyncErrorCB = func(nc *nats.Conn, sub *nats.Subscription, err error) {
		l.reported(err)
		if reported != nil {
			reported(nc, sub, err)
		}
	}
	o.ClosedCB = func(nc *nats.Conn) {
		l.failAll(errLost(nc.LastError()))
		if closed != nil {
			closed(nc)
		}
	}
	if inner := o.InProcessServer; inner != nil {
		o.InProcessServer = provider(func() (net.Conn, error) { return l.wire.wrap(inner.InProcessConn()) })
	} else {
		o.CustomDialer = dialer{ctx, o.CustomDialer, l.wire}
		o.SkipHostLookup = true // the dialer resolves names, within ctx
	}
	defer context.AfterFunc(ctx, l.wire.cut)()
	if l.nc, err = o.Connect(); err != nil {
		if errors.Is(err, nats.ErrNoServers) && l.wire.refused != nil {
			err = l.wire.refused // the client keeps the cause to itself
		}
		return nil, err
	}
	if l.js, err = jetstream.New(l.nc); err == nil {
		l.inbox = l.nc.NewInbox() + "."
		_, err = l.nc.Subscribe(l.inbox+"*", l.reply)
	}
	if err != nil {
		l.nc.Close()
		return nil, err
	}
	return l, nil
}

// reply is called for every acknowledgement, by one goroutine.
func (l *link) reply(m *nats.Msg) {
	number, index, _ := strings.Cut(m.Subject[len(l.inbox):], "-")
	n, errN := strconv.ParseUint(number, 36, 64)
	i, errI := strconv.ParseUint(index, 36, 32)
	l.mu.Lock()
	c := l.calls[n]
	l.mu.Unlock()
	if errN != nil || errI != nil || c == nil || int(i) >= len(c.items) {
		return // of a call that has ended
	}
	if l.heard.Load() < n {
		l.heard.Store(n) // nobody else stores
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		c.unanswered(int(i))
		return
	}
	stored, err := acknowledged(m.Data, c.items[i].topic)
	if stored || err != nil {
		c.settle(int(i), err)
	}
	// Anything else did not come from a stream: some service listens on that subject too. A stream may yet answer.
}

// reported gets the errors that the server tells without saying which message they are for.
func (l *link) reported(err error) {
	l.trouble.Store(&err)
	_, text, found := strings.Cut(err.Error(), "Publish to ")
	if !errors.Is(err, nats.ErrPermissionViolation) || !found {
		return
	}
	subject, errQ := strconv.QuotedPrefix(text)
	if errQ == nil {
		subject, errQ = strconv.Unquote(subject)
	}
	if errQ != nil {
		return
	}
	if strings.HasPrefix(subject, "$JS.") {
		l.blind.Store(true)
	}
	for _, c := range l.live() {
		c.fail(errForbidden(subject), func(topic string) bool { return topic == subject })
	}
}

func (l *link) failAll(err error) {
	for _, c := range l.live() {
		c.fail(err, nil)
	}
}

func (l *link) live() []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	live := make([]*call, 0, len(l.calls))
	for _, c := range l.calls {
		live = append(live, c)
	}
	return live
}

// purge is for the end of a call's time: if bytes of messages are still in this process, they must never leave it.
func (l *link) purge() {
	l.wire.held.Add(1)
	defer l.wire.held.Add(-1)
	if l.wire.writing.Load() > 0 {
		l.wire.cut()
	} else if n, err := l.nc.Buffered(); err == nil && n > 0 {
		l.wire.cut()
	}
}

// wire is the network connection under the client. It can be cut while the client is stuck in a write.
type wire struct {
	conn    atomic.Pointer[net.Conn]
	writing atomic.Int32
	refused error        // of the last dial, written and read by the goroutine that connects
	held    atomic.Int32 // while it is not 0 a write cuts the wire instead: purge need not wait for it
}

func (w *wire) wrap(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	w.conn.Store(&conn)
	return &wired{conn, w}, nil
}

func (w *wire) cut() {
	if conn := w.conn.Load(); conn != nil {
		(*conn).Close()
	}
}

type wired struct {
	net.Conn
	wire *wire
}

func (c *wired) Write(p []byte) (int, error) {
	c.wire.writing.Add(1)
	defer c.wire.writing.Add(-1)
	if c.wire.held.Load() > 0 {
		c.wire.cut()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

type provider func() (net.Conn, error)

func (p provider) InProcessConn() (net.Conn, error) { return p() }

type dialer struct {
	ctx   context.Context
	inner nats.CustomDialer // nil: TCP
	wire  *wire
}

func (d dialer) Dial(network, address string) (net.Conn, error) {
	var conn net.Conn
	var err error
	if d.inner != nil {
		conn, err = d.inner.Dial(network, address)
	} else {
		conn, err = (&net.Dialer{}).DialContext(d.ctx, network, address)
	}
	if err != nil {
		d.wire.refused = err
	}
	return d.wire.wrap(conn, err)
}
