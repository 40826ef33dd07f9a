package waybilltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
)

// Log is a log in memory with the store of its relays: a [relay.Source] and a [relay.Store] for tests. It blocks on channels
// alone and asks only package time, so it runs in virtual time (testing/synctest). Make it with NewLog.
type Log struct {
	mu       sync.Mutex
	rows     []relay.Message
	changed  chan struct{} // closed, and made anew, by every commit
	crashed  chan struct{} // closed, and made anew, by every crash
	relays   map[string]*relayState
	greatest int64 // epoch
}

var (
	_ relay.Source = (*Log)(nil)
	_ relay.Ranger = (*Log)(nil)
	_ relay.Store  = (*Log)(nil)
)

// NewLog returns an empty log.
func NewLog() *Log {
	return &Log{changed: make(chan struct{}), crashed: make(chan struct{}), relays: map[string]*relayState{}}
}

// Publish commits one transaction of messages. One without an ID gets its number in the log as ID.
func (l *Log) Publish(messages ...waybill.Message) {
	tx := l.Begin()
	tx.Publish(messages...)
	tx.Commit()
}

// Begin starts a transaction. Any number may be open at once.
func (l *Log) Begin() *Tx { return &Tx{log: l} }

// Tx is a transaction of a [Log], for one goroutine. Its messages enter the log, in their order, when it commits.
type Tx struct {
	log        *Log
	messages   []waybill.Message
	savepoints []int
}

// Publish adds messages to the transaction.
func (tx *Tx) Publish(messages ...waybill.Message) { tx.messages = append(tx.messages, messages...) }

// Savepoint marks the place to which RollbackTo goes back.
func (tx *Tx) Savepoint() { tx.savepoints = append(tx.savepoints, len(tx.messages)) }

// RollbackTo drops what was published since the last savepoint.
func (tx *Tx) RollbackTo() { tx.messages = tx.messages[:tx.savepoints[len(tx.savepoints)-1]] }

// Rollback drops the transaction.
func (tx *Tx) Rollback() { tx.messages = nil }

// Commit puts the messages into the log.
func (tx *Tx) Commit() {
	l := tx.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range tx.messages {
		pos := int64(len(l.rows) + 1)
		if m.ID == "" {
			m.ID = strconv.FormatInt(pos, 10)
		}
		if m.Time.IsZero() {
			m.Time = now()
		}
		l.rows = append(l.rows, relay.Message{Message: m, Pos: pos, Incarnation: 1, CreatedAt: now()})
	}
	tx.messages = nil
	close(l.changed)
	l.changed = make(chan struct{})
}

// Crash undoes the saves that were not durable and breaks every open reader, as a crash of a database does.
func (l *Log) Crash() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.relays {
		r.now = r.durable.clone()
	}
	close(l.crashed)
	l.crashed = make(chan struct{})
}

// Open implements relay.Source. The empty position is the beginning.
func (l *Log) Open(ctx context.Context, from relay.Position) (relay.Reader, error) {
	after, err := place(from)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return &logReader{log: l, after: after, crashed: l.crashed, closed: make(chan struct{})}, ctx.Err()
}

// place is how many rows lie before a position.
func place(p relay.Position) (int, error) {
	if p == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(string(p))
	if err != nil {
		err = relay.Fatal(fmt.Errorf("waybilltest: %q is no position of this log", p))
	}
	return n, err
}

type logReader struct {
	log     *Log
	after   int
	crashed chan struct{}
	closed  chan struct{}
	once    sync.Once
}

func (r *logReader) Read(ctx context.Context, budget relay.Budget) (relay.Batch, error) {
	for {
		r.log.mu.Lock()
		rest, changed := r.log.rows[r.after:], r.log.changed
		r.log.mu.Unlock()
		if n := fit(rest, budget); n > 0 {
			first := r.after
			r.after += n
			return relay.Batch{
				Messages: slices.Clone(rest[:n]),
				Position: func(n int) relay.Position { return relay.Position(strconv.Itoa(first + n)) },
			}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return relay.Batch{}, ctx.Err()
		case <-r.closed:
			return relay.Batch{}, errors.New("waybilltest: the reader is closed")
		case <-r.crashed:
			return relay.Batch{}, errors.New("waybilltest: the log crashed")
		}
	}
}

// fit returns how many of rows the budget allows.
func fit(rows []relay.Message, budget relay.Budget) int {
	n := 0
	for n < len(rows) && n < budget.Messages && budget.Bytes > 0 {
		m := rows[n]
		budget.Bytes -= len(m.ID) + len(m.Topic) + len(m.Key) + len(m.Type) + len(m.Payload)
		n++
	}
	return n
}

func (r *logReader) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}
