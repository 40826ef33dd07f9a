package postgres

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/waybillhq/waybill/internal/testenv"
)

var peak = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// The memory of a relay process is bounded by its window, whatever the transaction or the payload.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	large := 400
	if long {
		large = 2000
	}
	for _, of := range []struct {
		name     string
		messages int
		size     int
		broker   bool
		most     int // MiB
	}{
		// A number of messages that is not one of whole pages, and one that is: there the span ends without a message.
		{"one transaction of 100,001 messages", 100_001, 512, false, 64},
		{"one transaction of 100,000 messages to JetStream", 100_000, 512, true, 64},
		// A window of 16 MiB, twice for the garbage collector, and the buffers of two drivers.
		{"messages of 900 KB", large, 900_000, false, 128},
		{"messages of 900 KB to JetStream", large, 900_000, true, 128},
	} {
		t.Run(of.name, func(t *testing.T) {
			s := newScene(t)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "WAYBILL_TEST_RELAY="+s.url)
			if of.broker {
				server := testenv.StartNATS(t, testenv.NATSConfig{})
				newStream(t, server, "orders")
				cmd.Env = append(cmd.Env, "WAYBILL_TEST_RELAY_SINK="+server.URL())
			}
			s.exec(`INSERT INTO waybill.outbox (id, topic, key, type, payload) SELECT n, 'orders', n % 1000, 'order.changed', convert_to(repeat('x', $2::int), 'UTF8') FROM generate_series(1, $1::int) n`,
				of.messages, of.size)
			xid := s.number(`SELECT max(xid::text::bigint) FROM waybill.outbox`)
			p := testenv.Start(t, cmd)
			within(t, "everything to be published", func() bool { return s.cursor().S0.Sees(uint64(xid)) })
			s.must(p.Stop())
			m := peak.FindStringSubmatch(p.Output())
			if m == nil {
				t.Fatal("the relay process did not tell its memory")
			}
			kib, _ := strconv.Atoi(m[1])
			t.Logf("at most %d MiB resident for %d messages of %d bytes", kib>>10, of.messages, of.size)
			if kib>>10 > of.most {
				t.Errorf("%d MiB, want at most %d", kib>>10, of.most)
			}
		})
	}
}
