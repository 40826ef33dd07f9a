package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// embedded is an environment for one relay from an SQLite file to a broker in the same process, which listens.
func embedded(t *testing.T) (s shell, broker string) {
	address := freeAddress(t)
	return newShell(t, "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK=nats:embedded?dir=streams&sync=1s&listen="+address, "WAYBILL_SINKS__DEFAULT__CREATE=true",
		"WAYBILL_SINKS__DEFAULT__STREAM=orders", "WAYBILL_SINKS__DEFAULT__SUBJECTS=orders,orders.>"), "nats://" + address
}

func TestAMessageOnItsWayFromSendToAConsumer(t *testing.T) {
	t.Parallel()
	s, url := embedded(t)
	probes := freeAddress(t)
	s.must("migrate", "up")
	ids := []string{
		strings.TrimSpace(s.must("send", "--topic", "orders.created", "--type", "order.created", "--key", "k1", "--header", "tenant=a,b")),
		strings.TrimSpace(s.must("send", "--topic", "orders.paid", "--type", "order.paid", "--key", "k1", "--data", "second", "--content-type", "text/plain")),
	}
	if status := readStatus(t, s); status.State != "never ran" || status.Pending == nil || *status.Pending != 2 {
		t.Errorf("before the run: %+v", status)
	}
	p := s.start("run", "--listen", probes)
	eventually(t, "the relay is ready", func() bool { _, code := get(probes, "/readyz"); return code == http.StatusOK })

	messages := consume(t, url, 2)
	if got := string(messages[0].Data()); got != "body from standard input" {
		t.Errorf("body %q", got)
	}
	for i, m := range messages {
		if m.Headers().Get("ce-id") != ids[i] || m.Headers().Get("ce-source") != "/waybill/default" {
			t.Errorf("message %d has headers %v, want the id %s", i, m.Headers(), ids[i])
		}
	}
	if got := messages[0].Headers().Get("tenant"); got != "a,b" {
		t.Errorf("header tenant is %q", got)
	}
	if messages[0].Subject() != "orders.created" || messages[1].Subject() != "orders.paid" {
		t.Errorf("subjects %s, %s", messages[0].Subject(), messages[1].Subject())
	}
	var live struct{ Relays []picture }
	body, _ := get(probes, "/status")
	if err := json.Unmarshal([]byte(body), &live); err != nil || len(live.Relays) != 1 || live.Relays[0].Published != 2 {
		t.Errorf("%v: %s", err, body)
	}
	if status := readStatus(t, s); status.State != "owned" || status.Owner == "" || status.Lease == nil {
		t.Errorf("during the run: %+v", status)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if status := readStatus(t, s); status.State != "no owner" || *status.Pending != 0 || status.Held != 0 || status.Parked != 0 {
		t.Errorf("after a clean stop: %+v", status)
	}
	if strings.Contains(p.Output(), "second") || strings.Contains(p.Output(), "a,b") {
		t.Error("the log has a payload or a header value")
	}
}

func TestADatabaseThatIsDownAtTheStartIsAwaited(t *testing.T) {
	t.Parallel()
	s, _ := embedded(t)
	probes := freeAddress(t)
	p := s.start("run", "--listen", probes)
	eventually(t, "the relay says why it is not ready", func() bool {
		body, code := get(probes, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "relay default: waiting: ") && strings.Contains(body, "unable to open database file")
	})
	if body, code := get(probes, "/livez"); code != http.StatusOK {
		t.Errorf("/livez looks at dependencies: %d %s", code, body)
	}
	p.WaitOutput(t, "unable to open database file")
	s.must("migrate", "up")
	eventually(t, "the relay is ready", func() bool { _, code := get(probes, "/readyz"); return code == http.StatusOK })
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func TestABrokerThatIsDownAtTheStartIsAwaited(t *testing.T) {
	t.Parallel()
	later, url := embedded(t)
	address := strings.TrimPrefix(url, "nats://")
	s := newShell(t, "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK="+url)
	s.must("migrate", "up")
	s.must("send", "--topic", "orders", "--type", "a")
	probes := freeAddress(t)
	p := s.start("run", "--listen", probes)
	eventually(t, "the relay says why it is not ready", func() bool {
		body, code := get(probes, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "the sink confirms nothing") || strings.Contains(p.Output(), "WB2101")
	})
	later.must("migrate", "up") // another relay brings the broker
	later.env = append(later.env, "WAYBILL_SINK=nats:embedded?dir=streams&sync=1s&listen="+address)
	later.must("send", "--topic", "orders", "--type", "b") // makes it create the stream
	later.start("run", "--listen", "off")
	consume(t, url, 2)
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if status := readStatus(t, s); *status.Pending != 0 || status.Parked != 0 {
		t.Errorf("%+v", status)
	}
}

func TestAStandbyIsReadyAndTakesOver(t *testing.T) {
	t.Parallel()
	s := newShell(t, "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK=nats://127.0.0.1:1", "WAYBILL_RELAYS__DEFAULT__LEASE=2s")
	s.must("migrate", "up")
	first, second := freeAddress(t), freeAddress(t)
	owner := s.start("run", "--listen", first)
	eventually(t, "the first runs", func() bool { body, _ := get(first, "/status"); return strings.Contains(body, `"state": "running"`) })
	s.start("run", "--listen", second)
	eventually(t, "the second stands by", func() bool { body, _ := get(second, "/status"); return strings.Contains(body, `"state": "standby"`) })
	if body, code := get(second, "/readyz"); code != http.StatusOK {
		t.Errorf("a standby is not ready: %s", body)
	}
	owner.Kill()
	eventually(t, "the second runs", func() bool { body, _ := get(second, "/status"); return strings.Contains(body, `"state": "running"`) })
}

func TestARelayThatMustNotGoOnEndsTheProcessWithItsCause(t *testing.T) {
	t.Parallel()
	s := newShell(t, "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK=nats://127.0.0.1:1")
	s.must("migrate", "up")
	db, err := sql.Open("sqlite", filepath.Join(s.dir, "app.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO waybill_cursor (relay, epoch, position) VALUES ('default', 1, '99')`); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := s.run("run", "--listen", "off")
	if code != 1 || !strings.Contains(stderr, "relay default ended: waybill: WB1207") || !strings.Contains(stderr, "\nTry: ") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestTheSecondSignalEndsTheProcessAtOnce(t *testing.T) {
	t.Parallel()
	// A broker that accepts and never answers keeps messages in flight, and so the clean stop waiting.
	s := newShell(t, "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK=nats://"+silentServer(t), "WAYBILL_RELAYS__DEFAULT__LEASE=60s",
		"WAYBILL_RELAYS__DEFAULT__SEND_TIMEOUT=30s", "WAYBILL_SINKS__DEFAULT__CONNECT_TIMEOUT=30s")
	s.must("migrate", "up")
	s.must("send", "--topic", "orders", "--type", "a")
	probes := freeAddress(t)
	p := s.start("run", "--listen", probes)
	eventually(t, "a message is in flight", func() bool { body, _ := get(probes, "/status"); return strings.Contains(body, `"in_flight": 1`) })
	p.Signal(syscall.SIGTERM)
	p.WaitOutput(t, "stopping")
	eventually(t, "a second signal ends it", func() bool { // not at once: timeout(1) sends each signal twice
		p.Signal(syscall.SIGTERM)
		select {
		case <-p.Done():
			return true
		default:
			return false
		}
	})
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v", err)
	}
}

// Fault 86.
func TestALogThatNobodyReadsHoldsUpNeitherMessagesNorTheStop(t *testing.T) {
	t.Parallel()
	s, url := embedded(t)
	s.must("migrate", "up")
	s.must("send", "--topic", "orders", "--type", "n")
	reader, log, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer log.Close()
	for full := make([]byte, 512); err == nil; { // nothing more fits
		if err = log.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err == nil {
			_, err = log.Write(full)
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	cmd := s.command("run", "--listen", "off", "--verbose")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer hung.Stop()
	consume(t, url, 1)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestAPortThatIsTakenIsAnErrorThatSaysSo(t *testing.T) {
	t.Parallel()
	s := newShell(t, "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK=nats://127.0.0.1:1")
	_, stderr, code := s.run("run", "--listen", silentServer(t))
	if code != 1 || !strings.Contains(stderr, "WB4607") || !strings.Contains(stderr, "Try: --listen") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func readStatus(t *testing.T, s shell) relayStatus {
	t.Helper()
	var v struct{ Relays []relayStatus }
	if err := json.Unmarshal([]byte(s.must("status", "-o", "json")), &v); err != nil || len(v.Relays) != 1 {
		t.Fatalf("%v: %+v", err, v)
	}
	return v.Relays[0]
}

func get(address, path string) (body string, code int) {
	client := http.Client{Timeout: 10 * time.Second}
	r, err := client.Get("http://" + address + path)
	if err != nil {
		return err.Error(), 0
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return string(text), r.StatusCode
}

// consume reads n messages from the start of the stream orders.
func consume(t *testing.T, url string, n int) (messages []jetstream.Msg) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var consumer jetstream.Consumer
	eventually(t, "the stream is there", func() bool {
		conn, err := nats.Connect(url)
		if err != nil {
			return false
		}
		js, err := jetstream.New(conn)
		if err == nil {
			consumer, err = js.OrderedConsumer(ctx, "orders", jetstream.OrderedConsumerConfig{})
		}
		if err != nil {
			conn.Close()
			return false
		}
		t.Cleanup(conn.Close)
		return true
	})
	for len(messages) < n {
		m, err := consumer.Next(jetstream.FetchMaxWait(30 * time.Second))
		if err != nil {
			t.Fatalf("after %d messages: %v", len(messages), err)
		}
		messages = append(messages, m)
	}
	return messages
}
