package postgres

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// recorder is a sink that confirms everything at once and remembers it.
type recorder struct {
	before func(*relay.Message) error // called for each message; an error is its outcome
	mu     sync.Mutex
	list   []relay.Message
}

// Publish implements relay.Sink.
func (r *recorder) Publish(_ context.Context, messages []*relay.Message, confirm func(int, error)) {
	for i, m := range messages {
		var err error
		if r.before != nil {
			err = r.before(m)
		}
		if err == nil {
			r.mu.Lock()
			r.list = append(r.list, *m)
			r.mu.Unlock()
		}
		confirm(i, err)
	}
}

// Close implements relay.Sink.
func (r *recorder) Close() error { return nil }

func (r *recorder) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]string, len(r.list))
	for i := range r.list {
		list[i] = r.list[i].ID
	}
	return list
}

func (r *recorder) message(t *testing.T, id string) relay.Message {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.list {
		if m.ID == id {
			return m
		}
	}
	t.Fatalf("message %s has not been published", id)
	return relay.Message{}
}

// want waits until every id has been published.
func (r *recorder) want(t *testing.T, ids ...string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("published: %v", r.ids())
		}
	}()
	within(t, "messages "+strings.Join(ids[:min(len(ids), 5)], ", ")+" to be published", func() bool {
		have := r.ids()
		for _, id := range ids {
			if !slices.Contains(have, id) {
				return false
			}
		}
		return true
	})
}

// running is a relay at work.
type running struct {
	*relay.Relay
	t      *testing.T
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
	log    *logBuffer
}

// run starts a relay named "orders" on source; a relay that fails fails the test, unless the test waits for its end.
func (s *scene) run(source *postgres.Source, sink relay.Sink, cfg relay.Config) *running {
	s.t.Helper()
	r := &running{t: s.t, ended: make(chan struct{}), log: &logBuffer{also: s.t.Output()}}
	cfg.Name, cfg.Source, cfg.Store, cfg.Sink = "orders", source, source, sink
	cfg.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	var err error
	r.Relay, err = relay.New(cfg)
	s.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.ended)
		r.err = r.Run(ctx)
	}()
	s.t.Cleanup(func() {
		select {
		case <-r.ended:
		default:
			r.stop()
		}
	})
	return r
}

// stop ends the relay cleanly.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	<-r.ended
	if r.err != nil {
		r.t.Errorf("the relay ended: %v", r.err)
	}
}

// fails waits until the relay ends by itself and returns why.
func (r *running) fails() error {
	r.t.Helper()
	within(r.t, "the relay to stop by itself", func() bool {
		select {
		case <-r.ended:
			return true
		default:
			return false
		}
	})
	if r.err == nil {
		r.t.Error("the relay ended without an error")
	}
	return r.err
}

// state waits until the relay is running, waiting or so.
func (r *running) state(want string) {
	r.t.Helper()
	within(r.t, "the state "+want, func() bool { return r.Status().State == want })
}

// logBuffer keeps what is logged.
type logBuffer struct {
	also io.Writer
	mu   sync.Mutex
	b    bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Write(p)
	return l.also.Write(p)
}

func (l *logBuffer) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.b.Bytes(), []byte(text))
}
