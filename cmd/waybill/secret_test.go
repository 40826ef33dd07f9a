package main

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// The canaries stand where passwords do. None may come out of any command, whatever goes wrong.
const (
	databaseCanary = "canary-db-4711"
	brokerCanary   = "canary-nats-4712"
)

func TestNoSecretIsEverPrinted(t *testing.T) {
	t.Parallel()
	gossip := gossipingPostgres(t)
	for _, test := range []struct{ name, source, sink string }{
		{"nobody answers", "postgres://app:" + databaseCanary + "@127.0.0.1:1/db", "nats://app:" + brokerCanary + "@127.0.0.1:1"},
		{"the server repeats the password", "postgres://app:" + databaseCanary + "@" + gossip + "/db?sslmode=disable", "nats://" + brokerCanary + "@127.0.0.1:1"},
		{"a password in the query", "postgres://" + gossip + "/db?user=app&sslmode=disable&password=" + databaseCanary, "nats://" + brokerCanary + "@127.0.0.1:1"},
		{"characters that do not belong there", "postgres://app:" + databaseCanary + "/#?%zz@127.0.0.1:1/db", "nats://app:" + brokerCanary + "%zz/@127.0.0.1:1"},
		{"a port that is none", "postgres://app:" + databaseCanary + "@127.0.0.1:port/db", "tls://app:" + brokerCanary + "@127.0.0.1:port"},
		{"options that do not exist", "postgres://app:" + databaseCanary + "@127.0.0.1:1/db?sslmode=maybe", "nats:embedded?password=" + brokerCanary},
		{"a scheme that does not exist", "mysql://app:" + databaseCanary + "@h/db", "mqtt://app:" + brokerCanary + "@h"},
		{"RabbitMQ", "postgres://app:" + databaseCanary + "@127.0.0.1:1/db", "amqp://app:" + brokerCanary + "@127.0.0.1:1/x"},
		{"RabbitMQ, wrong", "postgres://app:" + databaseCanary + "@127.0.0.1:1/db", "amqp://app:" + brokerCanary + "@127.0.0.1:port/x?a=b,amqp://app:" + brokerCanary + "%zz@h"},
		{"Kafka", "postgres://app:" + databaseCanary + "@127.0.0.1:1/db", "kafka://app:" + brokerCanary + "@127.0.0.1:1,127.0.0.1:2"},
		{"Kafka, wrong", "postgres://app:" + databaseCanary + "@127.0.0.1:1/db", "kafka+tls://app:" + brokerCanary + "%zz/@127.0.0.1:port"},
		{"no scheme at all", databaseCanary, brokerCanary},
		{"two servers", "postgres://app:" + databaseCanary + "@127.0.0.1:1,127.0.0.1:2/db", "nats://a:" + brokerCanary + "@127.0.0.1:1,nats://b:" + brokerCanary + "@127.0.0.1:2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, place := range []struct {
				name string
				s    shell
			}{
				{"environment", newShell(t, "WAYBILL_SOURCE="+test.source, "WAYBILL_SINK="+test.sink)},
				{"file", newShell(t, "A="+test.source, "B="+test.sink)},
				{"plain file", newShell(t)},
			} {
				s := place.s
				switch place.name {
				case "file":
					s.write("waybill.yaml", "sources: {s: {url: '${env:A}'}}\nsinks: {k: {url: '${env:B}'}}\nrelays: {r: {source: s, sink: k}}\n")
				case "plain file":
					s.write("waybill.yaml", "sources: {s: {url: '"+test.source+"'}}\nsinks: {k: {url: '"+test.sink+"'}}\nrelays: {r: {source: s, sink: k}}\n")
				}
				for _, line := range [][]string{
					{"config", "show"}, {"config", "show", "-o", "json"}, {"config", "check"}, {"doctor"}, {"doctor", "-o", "json"}, {"status"}, {"status", "-o", "json"}, {"migrate", "up"}, {"migrate", "validate"},
					{"migrate", "print"}, {"send", "--topic", "a", "--type", "b"}, {"send", "--topic", "a", "--type", "b", "--source", test.source},
				} {
					stdout, stderr, _ := s.run(append(line, "-v", "--timeout", "2s")...)
					silent(t, place.name+": "+strings.Join(line, " "), stdout+stderr)
				}
			}
		})
	}
}

func TestNoSecretIsLoggedOrServedByRun(t *testing.T) {
	t.Parallel()
	gossip := gossipingPostgres(t)
	// An SQLite relay beside it, so that the sink is asked too.
	s := newShell(t, "DB_PASSWORD="+databaseCanary)
	s.write("waybill.yaml", `
sources:
  a: {url: "postgres://app:${env:DB_PASSWORD}@`+gossip+`/db?sslmode=disable"}
  b: {url: "sqlite:app.db"}
sinks: {k: {url: "nats://app:`+brokerCanary+`@127.0.0.1:1"}}
relays: {r: {source: a, sink: k}, q: {source: b, sink: k}}
`)
	s.must("migrate", "up", "--source", "b")
	s.must("send", "--source", "b", "--topic", "a", "--type", "b")
	probes := freeAddress(t)
	p := s.start("run", "-v", "--listen", probes)
	eventually(t, "both relays say what is wrong", func() bool {
		body, code := get(probes, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "app:***") && strings.Contains(p.Output(), "WB2101")
	})
	ready, _ := get(probes, "/readyz")
	status, _ := get(probes, "/status")
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	silent(t, "the log", p.Output())
	silent(t, "/readyz", ready)
	silent(t, "/status", status)
	if !strings.Contains(p.Output(), "a password in plain text") {
		t.Error("the plain password in the file is no warning")
	}
}

func silent(t *testing.T, where, text string) {
	t.Helper()
	for _, canary := range []string{databaseCanary, brokerCanary} {
		if strings.Contains(text, canary) {
			t.Errorf("%s: a secret was printed:\n%s", where, text)
		}
	}
}

// gossipingPostgres refuses every connection with an error that repeats what a URL said, as drivers and proxies do.
func gossipingPostgres(t *testing.T) (address string) {
	return serve(t, func(conn net.Conn) {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size[:]))-4); err != nil {
			return
		}
		text := "no entry for postgres://app:" + databaseCanary + "@db/db, password=" + databaseCanary + ", " + databaseCanary + ", broker " + brokerCanary
		body := "SFATAL\x00VFATAL\x00C28P01\x00M" + text + "\x00\x00"
		conn.Write(append(append([]byte{'E'}, binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))...), body...))
	})
}

// silentServer accepts connections and says nothing.
func silentServer(t *testing.T) (address string) {
	return serve(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
}

func serve(t *testing.T, answer func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer(conn)
			}()
		}
	}()
	return l.Addr().String()
}
