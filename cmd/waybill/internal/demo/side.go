package demo

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// side is one of the two services, with everything the demo knows about it from outside.
type side struct {
	name     string // of its database, its stream and its child process
	url      string
	service  *process
	listener *os.File
	db       *sql.DB
	stream   jetstream.Stream

	failed atomic.Int64 // requests that got no answer or an error, or were turned away

	mu       sync.Mutex
	rows     []entry
	lastPos  int64
	messages []entry
}

// listen opens the port on which the service serves. The demo keeps it, so that a new child finds it, with the
// requests that came in between.
func (s *side) listen() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	s.url = "http://" + l.Addr().String()
	s.listener, err = l.(*net.TCPListener).File()
	return err
}

func (s *side) close() {
	if s.listener != nil {
		s.listener.Close()
	}
	if s.db != nil {
		s.db.Close()
	}
}

// openStream makes the side's stream, once the broker is there.
func (s *side) openStream(ctx context.Context, js jetstream.JetStream) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, time.Second)
		s.stream, err = js.CreateStream(attempt, jetstream.StreamConfig{Name: s.name, Subjects: []string{s.name + subjectSuffix}, AllowDirect: true})
		done()
		if err == nil || !sleep(ctx, 20*time.Millisecond) {
			return err
		}
	}
}

// consume reads the side's stream, message by message as any consumer would get them, until ctx ends.
func (s *side) consume(ctx context.Context) {
	for sequence := uint64(1); ctx.Err() == nil; {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		m, err := s.stream.GetMsg(attempt, sequence)
		cancel()
		if err != nil { // not there yet, or the broker is not
			sleep(ctx, 20*time.Millisecond)
			continue
		}
		sequence++
		var e entry
		if json.Unmarshal(m.Data, &e) != nil {
			e = entry{} // no row has it, so it counts as a phantom
		}
		s.mu.Lock()
		s.messages = append(s.messages, e)
		s.mu.Unlock()
	}
}

// counts takes the messages first and then the rows, so that a message published after its commit finds its row.
func (s *side) counts(ctx context.Context) (Counts, error) {
	s.mu.Lock()
	messages := s.messages
	s.mu.Unlock()
	rows, last, err := readRows(ctx, s.db, s.lastPos)
	if err != nil {
		return Counts{}, err
	}
	s.rows, s.lastPos = append(s.rows, rows...), last
	return account(s.rows, messages), nil
}

// caughtUp waits until the consumer has read all that the stream holds.
func (s *side) caughtUp(ctx context.Context) error {
	info, err := s.stream.Info(ctx)
	if err != nil {
		return err
	}
	for {
		s.mu.Lock()
		n := len(s.messages)
		s.mu.Unlock()
		if uint64(n) >= info.State.LastSeq {
			return nil
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return errors.New("the consumer did not reach the end of the stream " + s.name)
		}
	}
}

// sleep returns false when ctx ended before d was over.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
