package postgres

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/waybillhq/waybill/internal/testenv"
)

var race bool // this binary has the race detector

var peak = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// The memory of a relay process is bounded by its window, whatever the transaction or the payload.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	program := os.Args[0]
	if race { // whose detector takes many times the memory
		program = filepath.Join(t.TempDir(), "relay")
		build := exec.Command("go", "test", "-race=false", "-c", "-o", program, ".")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", build, err, out)
		}
	}
	for _, of := range []struct {
		name     string
		messages int
		size     int
		broker   bool
		most     int // MiB
	}{
		// Whole pages of messages: their span ends without one. Then a number that is not of whole pages.
		{"one transaction of 100,000 messages to JetStream", 100_000, 512, true, 64},
		{"one transaction of 100,001 messages", 100_001, 512, false, 64},
		// A window of 16 MiB, twice for the garbage collector, and the buffers of two drivers.
		{"messages of 900 KB", 200, 900_000, false, 128},
		{"2,000 messages of 900 KB to JetStream", 2000, 900_000, true, 128},
	} {
		if !long && (of.messages == 100_001 || of.messages == 2000) {
			continue
		}
		t.Run(of.name, func(t *testing.T) {
			s := newScene(t)
			cmd := exec.Command(program)
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
