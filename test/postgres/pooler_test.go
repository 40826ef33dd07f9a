package postgres

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// pooler is a pooler in transaction mode that keeps prepared statements, as the newer ones do: on swap, each connection goes
// on with another server session, which knows all statements that were prepared. Only the session itself is not the same.
type pooler struct {
	url   string
	swaps atomic.Int64
}

func newPooler(t *testing.T, server string) *pooler {
	t.Helper()
	p := &pooler{}
	p.url = listen(t, server, func(c net.Conn, target string) {
		defer c.Close()
		_ = p.serve(c, target) // the end of either side
	})
	return p
}

func (p *pooler) swap() { p.swaps.Add(1) }

func (p *pooler) serve(client net.Conn, target string) error {
	startup, err := readMessage(client, 0)
	if err != nil {
		return err
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer func() { server.Close() }()
	if _, err := server.Write(startup); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(startup[4:]) != 3<<16 { // a cancel request
		_, err := io.Copy(client, server)
		return err
	}
	if err := untilReady(server, client); err != nil {
		return err
	}
	var prepared [][]byte
	swaps := p.swaps.Load()
	for {
		m, err := readMessage(client, 1)
		if err != nil {
			return err
		}
		if now := p.swaps.Load(); now != swaps {
			swaps = now
			server.Close()
			if server, err = net.Dial("tcp", target); err != nil {
				return err
			}
			if _, err := server.Write(startup); err != nil {
				return err
			}
			if err := untilReady(server, io.Discard); err != nil {
				return err
			}
			for _, parse := range prepared {
				if _, err := server.Write(append(parse, 'S', 0, 0, 0, 4)); err != nil {
					return err
				}
				if err := untilReady(server, io.Discard); err != nil {
					return err
				}
			}
		}
		for ; ; m, err = readMessage(client, 1) {
			if err != nil {
				return err
			}
			if m[0] == 'P' && m[5] != 0 { // Parse of a statement with a name
				prepared = append(prepared, m[:len(m):len(m)])
			}
			if _, err := server.Write(m); err != nil {
				return err
			}
			if m[0] == 'S' || m[0] == 'Q' { // Sync, Query: the server answers
				break
			}
		}
		if err := untilReady(server, client); err != nil {
			return err
		}
	}
}

// readMessage reads one message of the protocol, whose first bytes are its type, but for the very first, and its length.
func readMessage(r io.Reader, typed int) ([]byte, error) {
	head := make([]byte, typed+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	rest := make([]byte, binary.BigEndian.Uint32(head[typed:])-4)
	_, err := io.ReadFull(r, rest)
	return append(head, rest...), err
}

func untilReady(server io.Reader, client io.Writer) error {
	for {
		m, err := readMessage(server, 1)
		if err != nil {
			return err
		}
		if _, err := client.Write(m); err != nil || m[0] == 'Z' {
			return err
		}
	}
}

func TestAnotherServerSessionIsNoticedByTheNextLook(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := newPooler(t, s.url)
	reader, err := s.sourceAt(p.url, postgres.Config{PollMax: 10 * time.Millisecond}).Open(t.Context(), "")
	s.must(err)
	defer reader.Close()
	s.publish("k", "one")
	_, err = reader.Read(t.Context(), relay.Budget{Messages: 10, Bytes: 1000})
	s.must(err)
	p.swap()
	s.publish("k", "two")
	if batch, err := reader.Read(t.Context(), relay.Budget{Messages: 10, Bytes: 1000}); err == nil || !strings.Contains(err.Error(), "WB1012") {
		t.Errorf("read %d messages from another session, %v", len(batch.Messages), err)
	}
}

// R24: a snapshot taken in one session proves nothing in another.
func TestSaveOnAnotherServerSessionIsRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := newPooler(t, s.url)
	source := s.sourceAt(p.url, postgres.Config{})
	tenure, err := source.Acquire(t.Context(), relay.Claim{Relay: "orders", Owner: "me", TTL: time.Hour})
	s.must(err)
	reader, err := source.Open(t.Context(), "")
	s.must(err)
	defer reader.Close()
	s.publish("k", "one")
	batch, err := reader.Read(t.Context(), relay.Budget{Messages: 10, Bytes: 1000})
	s.must(err)
	position := batch.Position(1)
	p.swap()
	for _, save := range []relay.Save{
		{Position: position}, {Position: position, Durable: true},
		{Position: position, Park: []relay.Parked{{Message: batch.Messages[0], Lane: "k", State: relay.StateHeld}}},
	} {
		if err := source.Save(t.Context(), tenure.Lease, save); err == nil || !strings.Contains(err.Error(), "WB1012") {
			t.Errorf("the save returned %v", err)
		}
		if have := s.text(`SELECT position FROM waybill.cursor`); have != "" {
			t.Errorf("the cursor was saved: %s", have)
		}
		if n := s.number(`SELECT count(*) FROM waybill.parked`); n != 0 {
			t.Errorf("%d messages were set aside", n)
		}
	}
}

func TestPgBouncerInTransactionModeIsNoticed(t *testing.T) {
	t.Parallel()
	program := testenv.Program(t, "pgbouncer", "sudo apt-get install -y pgbouncer")
	s := newScene(t)
	u, err := url.Parse(s.url)
	s.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s.must(l.Close())
	dir, err := os.MkdirTemp("", "waybill-pgbouncer-")
	s.must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.must(os.Chmod(dir, 0o755))
	ini := filepath.Join(dir, "pgbouncer.ini")
	s.must(os.WriteFile(ini, fmt.Appendf(nil, "[databases]\n* = host=127.0.0.1 port=%s user=postgres\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port=%s\nunix_socket_dir=\n"+
		"auth_type=any\npool_mode=transaction\ndefault_pool_size=4\nserver_round_robin=1\n", u.Port(), port), 0o644))
	args := []string{ini}
	if os.Getuid() == 0 {
		args = []string{"-u", "postgres", ini} // it refuses to run as root
	}
	testenv.Start(t, exec.Command(program, args...))
	u.Host = "127.0.0.1:" + port

	stop := make(chan struct{})
	done := make(chan struct{})
	t.Cleanup(func() { close(stop); <-done })
	app := openDB(t, u.String()+"&default_query_exec_mode=simple_protocol")
	within(t, "the pooler to answer", func() bool { return app.Ping() == nil })
	go func() { // others, who take turns with the relay on the server sessions
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				if tx, err := app.Begin(); err == nil {
					tx.Exec(`SELECT 1`)
					tx.Rollback()
				}
			}
		}
	}()
	sink := &recorder{}
	r := s.run(s.sourceAt(u.String(), postgres.Config{}), sink, relay.Config{})
	s.publish("k", "one")
	within(t, "the pooler to be noticed", func() bool { return r.log.contains("WB1012") })
}
