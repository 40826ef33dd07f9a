package sink_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/kafka"
)

// network is what lies between a fake broker and its clients.
type network struct {
	mu     sync.Mutex
	deaf   chan struct{} // not nil: the brokers read nothing until it is closed
	cut    int           // so many answers are not given: the connection ends instead
	pieces bool          // one byte at a time
}

func (n *network) listen(protocol, address string) (net.Listener, error) {
	l, err := net.Listen(protocol, address)
	return &listener{l, n}, err
}

func (n *network) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

type listener struct {
	net.Listener
	*network
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conduit{conn, l.network}, nil
}

type conduit struct {
	net.Conn
	*network
}

func (c *conduit) Read(p []byte) (int, error) {
	c.mu.Lock()
	deaf, pieces := c.deaf, c.pieces
	c.mu.Unlock()
	if deaf != nil {
		<-deaf
	}
	if pieces && len(p) > 1 {
		p = p[:1]
	}
	return c.Conn.Read(p)
}

func (c *conduit) Write(p []byte) (int, error) {
	c.mu.Lock()
	cut := c.cut > 0
	if cut {
		c.cut--
	}
	pieces := c.pieces
	c.mu.Unlock()
	if cut {
		c.Close()
		return 0, net.ErrClosed
	}
	for i := 0; pieces && i < len(p); i++ {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	if pieces {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func TestAnAnswerThatIsLostCostsNoCopy(t *testing.T) {
	t.Parallel()
	for _, config := range []kafka.Config{{MaxBatchBytes: 4_000}, {MaxBatchBytes: 4_000, TransactionalID: "relay-1"}} {
		t.Run("fence "+config.TransactionalID, func(t *testing.T) {
			t.Parallel()
			var n network
			k := startFakeKafka(t, kfake.ListenFn(n.listen))
			sink := k.sink(t, config)
			var want []string
			lose := 0
			k.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				k.KeepControl()
				n.set(func() { n.cut, lose = lose, 0 })
				return nil, nil, false
			})
			for round := range 8 {
				n.set(func() { lose = 1 + round%3 })
				messages := run("orders", "one", 100*round, 100*round+50)
				want = append(want, ids(messages)...)
				for i, err := range send(t, sink, time.Minute, messages...) {
					if err != nil {
						t.Fatalf("message %d: %v", i, err)
					}
				}
			}
			k.wantStored(t, want)
		})
	}
}

func TestABrokerThatReadsNothingGetsNothingAfterTheTime(t *testing.T) {
	t.Parallel()
	for _, config := range []kafka.Config{{}, {TransactionalID: "relay-1"}} {
		t.Run("fence "+config.TransactionalID, func(t *testing.T) {
			t.Parallel()
			var n network
			k := startFakeKafka(t, kfake.ListenFn(n.listen))
			sink := k.sink(t, config)
			sendUntilStored(t, sink, message("orders", "before"))
			deaf := make(chan struct{})
			n.set(func() { n.deaf = deaf })
			// One request may be in the brokers' read that began before; what fills the network does not fit into it.
			stuck := many("orders", 0, 100)
			for i, m := range stuck {
				m.Key, m.Payload = fmt.Sprint("key-", i), make([]byte, 500_000)
			}
			for i, err := range send(t, sink, time.Second, stuck...) {
				if class(err) != "temporary" {
					t.Fatalf("message %d: %v", i, err)
				}
			}
			n.set(func() { n.deaf = nil })
			close(deaf)
			sendUntilStored(t, sink, message("orders", "after"))
			for _, p := range k.stored(t, 2) {
				if p.ID != "orders/before" && p.ID != "orders/after" {
					t.Errorf("%s was stored after its time", p.ID)
				}
			}
		})
	}
}

func TestConnectionsThatBreakAllTheTimeChangeNoOrder(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	count := 0
	k.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		if count++; count%3 != 0 {
			return nil, errors.New("cut"), true
		}
		return nil, nil, false
	})
	messages := run("orders", "one", 0, 300)
	for i, err := range send(t, k.sink(t, kafka.Config{MaxBatchBytes: 4_000}), time.Minute, messages...) {
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	k.wantStored(t, ids(messages))
}

func TestOptionsCannotTakeTheReplicasAway(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	var acks, version atomic.Int32
	k.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		acks.Store(int32(req.(*kmsg.ProduceRequest).Acks))
		version.Store(int32(req.GetVersion()))
		return nil, nil, false
	})
	sink := k.sink(t, kafka.Config{Options: []kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.MaxVersions(kversion.Tip())}})
	sendAll(t, sink, run("orders", "one", 0, 1))
	if acks.Load() != -1 || version.Load() != 11 {
		t.Errorf("acks %d, version %d", acks.Load(), version.Load())
	}
}

func TestBytesThatComeOneByOneAreUnderstood(t *testing.T) {
	t.Parallel()
	n := network{pieces: true}
	k := startFakeKafka(t, kfake.ListenFn(n.listen))
	messages := run("orders", "one", 0, 20)
	for i, err := range send(t, k.sink(t, kafka.Config{}), time.Minute, messages...) {
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	k.wantStored(t, ids(messages))
}

func TestALeaderThatMovesUnderLoadChangesNoOrder(t *testing.T) {
	t.Parallel()
	for _, config := range []kafka.Config{{MaxBatchBytes: 4_000}, {MaxBatchBytes: 4_000, TransactionalID: "relay-1"}} {
		t.Run("fence "+config.TransactionalID, func(t *testing.T) {
			t.Parallel()
			k := startFakeKafka(t)
			sink := k.sink(t, config)
			stop := make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(30 * time.Millisecond):
						k.ShufflePartitionLeaders()
					}
				}
			})
			messages := run("orders", "one", 0, 1500)
			errs := send(t, sink, time.Minute, messages...)
			close(stop)
			all.Wait()
			for i, err := range errs {
				if err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
			}
			k.wantStored(t, ids(messages))
		})
	}
}

func TestAKeyMovesWhenItsTopicGrowsUnlessItIsPinned(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	var log safeBuffer
	follows := k.sink(t, kafka.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	pinned := k.sink(t, kafka.Config{Source: "/pinned", Partitions: map[string]int{"orders": 4}})
	messages := many("orders", 0, 64)
	for i, m := range messages {
		m.Key = fmt.Sprint("key-", i)
	}
	for _, sink := range []relay.Sink{follows, pinned} {
		sendAll(t, sink, messages)
	}
	if grown, err := k.admin(t).CreatePartitions(t.Context(), 4, "orders"); err != nil || grown.Error() != nil {
		t.Fatal(err, grown.Error())
	}
	count := 2 * 64
	for end := time.Now().Add(time.Minute); !strings.Contains(log.String(), "another number of partitions"); count += 2 * 64 {
		if time.Now().After(end) {
			t.Fatalf("nobody noticed; the log says %q", log.String())
		}
		k.refuse(kerr.NotLeaderForPartition, 2) // it makes them ask anew; by themselves they do so every minute
		sendAll(t, follows, messages)
		sendAll(t, pinned, messages)
	}
	sendAll(t, follows, messages)
	used := map[string]int{}
	for _, p := range k.stored(t, count+64) {
		if p.partition >= 4 {
			used[p.Source]++
		}
	}
	if used["/pinned"] > 0 || used["/waybill/default"] == 0 {
		t.Errorf("messages in the new partitions: %v", used)
	}
}

func TestAKeyLiesWhereJavaPutsIt(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	sink := k.sink(t, kafka.Config{})
	// murmur2 of org.apache.kafka.common.utils.Utils, by its own test
	hashes := map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107}
	var messages []*relay.Message
	for key := range hashes {
		m := message("orders", key)
		m.Key = key
		messages = append(messages, m)
	}
	sendAll(t, sink, messages)
	for _, p := range k.stored(t, len(messages)) {
		if want := (hashes[p.Key] & 0x7fffffff) % 4; p.partition != want {
			t.Errorf("%q lies in partition %d, want %d", p.Key, p.partition, want)
		}
	}
}

func TestEveryCompressionIsRead(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	var want []string
	for n, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		messages := run("orders", "one", 100*n, 100*n+100)
		want = append(want, ids(messages)...)
		sendAll(t, k.sink(t, kafka.Config{Compression: codec}), messages)
	}
	k.wantStored(t, want)
}

func TestASchemaRegistrysFrameStaysAsItIs(t *testing.T) {
	t.Parallel()
	k := startFakeKafka(t)
	m := message("orders", "1")
	m.Payload = []byte{0, 0, 0, 1, 7, 6, 0xff}
	sendAll(t, k.sink(t, kafka.Config{}), []*relay.Message{m})
	if r := k.stored(t, 1)[0].record; !slices.Equal(r.Value, m.Payload) || r.Key != nil {
		t.Errorf("value %v, key %q", r.Value, r.Key)
	}
}

func sendAll(t *testing.T, sink relay.Sink, messages []*relay.Message) {
	t.Helper()
	for i, err := range send(t, sink, time.Minute, messages...) {
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

// safeBuffer may be written by other goroutines.
type safeBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
