package postgres

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// gate stands before a server and can be shut, which cuts every connection through it and lets none in.
type gate struct {
	url    string // the server's, with the gate's address
	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

func newGate(t *testing.T, server string) *gate {
	t.Helper()
	g := &gate{conns: map[net.Conn]bool{}}
	g.url = listen(t, server, func(c net.Conn, target string) {
		if s, err := net.Dial("tcp", target); err == nil && g.enter(c, s) {
			go func() {
				defer g.leave(c, s)
				io.Copy(s, c)
			}()
			io.Copy(c, s)
			g.leave(c, s)
		} else {
			c.Close()
		}
	})
	return g
}

// listen serves connections until the test ends, and returns the server's URL with the new address. serve gets the server's own.
func listen(t *testing.T, server string, serve func(c net.Conn, target string)) (through string) {
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
	target := u.Host
	u.Host = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go serve(c, target)
		}
	}()
	return u.String()
}

func (g *gate) enter(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		if g.closed {
			c.Close()
		} else {
			g.conns[c] = true
		}
	}
	return !g.closed
}

func (g *gate) leave(conns ...net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		delete(g.conns, c)
		c.Close()
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for c := range g.conns {
		c.Close()
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}
