// Package broker is the NATS JetStream server inside the process: the broker of those who have none.
package broker

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
)

// Config is what nats:embedded?dir=DIR&listen=ADDRESS&sync=always says.
type Config struct {
	Dir    string        // where the streams are stored
	Listen string        // address for other processes; empty opens no port
	Sync   time.Duration // how often the files are flushed to the disk; 0 is before each confirmation, which is the default
}

// Parse reads the options of a URL.
func Parse(q url.Values) (c Config, err error) {
	for key := range q {
		switch value := q.Get(key); key {
		case "dir":
			c.Dir = value
		case "listen":
			if _, _, err := net.SplitHostPort(value); err != nil {
				return c, fmt.Errorf("listen must be HOST:PORT")
			}
			c.Listen = value
		case "sync":
			if value == "always" {
				continue
			}
			if c.Sync, err = time.ParseDuration(value); err != nil || c.Sync <= 0 {
				return c, fmt.Errorf("sync must be always or a duration such as 1s")
			}
		default:
			return c, fmt.Errorf("nats:embedded has the options dir, listen and sync, not %q", key)
		}
	}
	if c.Dir == "" {
		return c, errors.New("nats:embedded needs a folder for its streams, want nats:embedded?dir=DIR")
	}
	return c, nil
}

// Servers are the servers of this process, one a folder. The zero value is ready.
type Servers struct {
	mu    sync.Mutex
	byDir map[string]*server.Server
}

// Start returns the server of c.Dir, started.
func (s *Servers) Start(c Config) (*server.Server, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if running := s.byDir[dir]; running != nil {
		return running, nil
	}
	options := &server.Options{
		ServerName: "waybill", JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true,
		SyncAlways: c.Sync == 0, SyncInterval: c.Sync, DontListen: c.Listen == "",
	}
	if c.Listen != "" {
		host, port, _ := net.SplitHostPort(c.Listen) // Parse has checked it
		options.Host = host
		if options.Port, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("the port %q is not a number", port)
		}
		if options.Port == 0 {
			options.Port = server.RANDOM_PORT
		}
	}
	running, err := server.NewServer(options)
	if err == nil {
		running.Start()
		if !running.ReadyForConnections(10*time.Second) || !running.JetStreamEnabled() {
			running.Shutdown()
			err = errors.New("it did not start within 10s")
		}
	}
	if err != nil {
		return nil, &fault.Error{Code: "WB4605", What: "start the broker in this process", Where: "nats:embedded?dir=" + c.Dir, Why: err,
			Try: "another folder or port: a folder serves one process"}
	}
	if s.byDir == nil {
		s.byDir = map[string]*server.Server{}
	}
	s.byDir[dir] = running
	return running, nil
}

// Running tells whether there is one.
func (s *Servers) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byDir) > 0
}

// URLs are where other processes reach the servers that listen.
func (s *Servers) URLs() (urls []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, running := range s.byDir {
		if address, ok := running.Addr().(*net.TCPAddr); ok {
			urls = append(urls, "nats://"+address.String())
		}
	}
	return urls
}

// Close stops all servers.
func (s *Servers) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for dir, running := range s.byDir {
		running.Shutdown()
		running.WaitForShutdown()
		delete(s.byDir, dir)
	}
}
