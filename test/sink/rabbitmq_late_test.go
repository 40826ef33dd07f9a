package sink_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/sink/rabbitmq"
)

// narrowWay forwards to a server. While it is shut it takes no more than its small buffer: the rest lies in the sender's kernel.
type narrowWay struct {
	net.Listener
	at    string
	shut  atomic.Bool
	ended atomic.Bool // the sender's connection is over
	mu    sync.Mutex
	seen  bytes.Buffer // what went up
}

func newNarrowWay(t *testing.T, at string) (way *narrowWay, through string) {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		if failed != nil {
			return failed
		}
		return err
	}}
	way = &narrowWay{at: u.Host}
	if way.Listener, err = small.Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { way.Close() })
	go way.serve()
	u.Host = way.Addr().String()
	return way, u.String()
}

func (w *narrowWay) serve() {
	for {
		from, err := w.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", w.at)
		if err != nil {
			from.Close()
			continue
		}
		go func() {
			_, _ = io.Copy(from, to) // it ends when either side does
			from.Close()
		}()
		go func() {
			defer to.Close()
			piece := make([]byte, 512)
			for {
				for w.shut.Load() {
					time.Sleep(time.Millisecond)
				}
				n, err := from.Read(piece) // the one under way when it is shut takes a piece yet
				w.mu.Lock()
				w.seen.Write(piece[:n])
				w.mu.Unlock()
				if _, bad := to.Write(piece[:n]); err != nil || bad != nil {
					w.ended.Store(true)
					return
				}
			}
		}()
	}
}

func (w *narrowWay) saw(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(w.seen.Bytes(), []byte(text))
}

func TestWhatLiesUnsentInTheSocketOfRabbitMQAtTheEndOfItsTimeIsNeverSent(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	rabbitQueue(t, vhost, "orders", "quorum", nil)
	way, at := newNarrowWay(t, vhost.URL)
	sink := newRabbit(t, at, rabbitmq.Config{})
	sendUntilStored(t, sink, message("orders", "before"))
	way.shut.Store(true)
	messages := many("orders", 0, 12)
	for _, m := range messages {
		m.Payload = make([]byte, 1000)
	}
	for _, err := range send(t, sink, 300*time.Millisecond, messages...) {
		wantRabbit(t, err, "temporary", "WB2403")
	}
	way.shut.Store(false)
	for end := time.Now().Add(time.Minute); !way.ended.Load() && !way.saw("orders/11"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection neither ends nor goes on")
		}
	}
	if way.saw("orders/11") {
		t.Error("it was sent after its time")
	}
}
