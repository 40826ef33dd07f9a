package doctor

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// transactionPooler is a pooler in transaction mode: between two transactions a client has no server session, and gets the one
// that was given back last.
type transactionPooler struct {
	target string
	mu     sync.Mutex
	idle   []net.Conn
}

func newPooler(t *testing.T, server string) (through string) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &transactionPooler{target: u.Host}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				_ = p.serve(client) // the end of either side
			}()
		}
	}()
	u.Host = l.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	return u.String()
}

func (p *transactionPooler) serve(client net.Conn) error {
	startup, err := readMessage(client, 0)
	if err != nil {
		return err
	}
	dial := func(answers io.Writer) (net.Conn, error) {
		server, err := net.Dial("tcp", p.target)
		if err == nil {
			if _, err = server.Write(startup); err == nil {
				var ready []byte
				if ready, err = untilReady(server, answers); err == nil {
					_, err = answers.Write(ready)
				}
			}
		}
		return server, err
	}
	first, err := dial(client)
	if err != nil {
		return err
	}
	p.give(first)
	var server net.Conn
	for {
		m, err := readMessage(client, 1)
		if err != nil || m[0] == 'X' {
			return err
		}
		if server == nil {
			if server = p.take(); server == nil {
				if server, err = dial(io.Discard); err != nil {
					return err
				}
			}
		}
		if _, err := server.Write(m); err != nil {
			return err
		}
		if m[0] != 'S' && m[0] != 'Q' { // not the end of a request
			continue
		}
		ready, err := untilReady(server, client)
		if err != nil {
			return err
		}
		if ready[5] == 'I' { // outside of a transaction
			p.give(server)
			server = nil
		}
		if _, err := client.Write(ready); err != nil {
			return err
		}
	}
}

func (p *transactionPooler) give(server net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, server)
}

func (p *transactionPooler) take() net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	server := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return server
}

func readMessage(r io.Reader, typed int) ([]byte, error) {
	head := make([]byte, typed+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	rest := make([]byte, binary.BigEndian.Uint32(head[typed:])-4)
	_, err := io.ReadFull(r, rest)
	return append(head, rest...), err
}

// untilReady copies answers up to ReadyForQuery and returns that.
func untilReady(server io.Reader, client io.Writer) (ready []byte, err error) {
	for {
		m, err := readMessage(server, 1)
		if err != nil || m[0] == 'Z' {
			return m, err
		}
		if _, err := client.Write(m); err != nil {
			return nil, err
		}
	}
}
