// Package logpipe writes a log that nobody waits for: a reader that hangs must not stop a relay.
package logpipe

import (
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// Writer hands each Write to w from a goroutine of its own. What does not fit into its queue is dropped, and the number of what
// was dropped is told when w takes something again.
type Writer struct {
	queue   chan []byte
	dropped atomic.Int64
	done    chan struct{}
}

// maxQueue is in lines: a few hundred kilobytes.
const maxQueue = 1000

// New returns a Writer to w.
func New(w io.Writer) *Writer {
	p := &Writer{queue: make(chan []byte, maxQueue), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for line := range p.queue {
			w.Write(line) // whom could one tell?
			if n := p.dropped.Swap(0); n > 0 {
				fmt.Fprintf(w, `{"time":%q,"level":"WARN","msg":"lines of this log were dropped, because nobody read it","lines":%d}`+"\n", time.Now().Format(time.RFC3339Nano), n)
			}
		}
	}()
	return p
}

// Write never blocks and never fails. It must not be called after Close.
func (p *Writer) Write(line []byte) (int, error) {
	select {
	case p.queue <- slices.Clone(line):
	default:
		p.dropped.Add(1)
	}
	return len(line), nil
}

// Close waits until everything is written, or for so long.
func (p *Writer) Close(within time.Duration) {
	close(p.queue)
	select {
	case <-p.done:
	case <-time.After(within):
	}
}
