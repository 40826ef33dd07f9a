package logpipe

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// slow takes nothing before it is let go.
type slow struct {
	begun, release chan struct{}
	bytes.Buffer
}

func (s *slow) Write(p []byte) (int, error) {
	select {
	case s.begun <- struct{}{}:
	default:
	}
	<-s.release
	return s.Buffer.Write(p)
}

func TestAHangingReaderBlocksNobodyAndIsToldWhatItMissed(t *testing.T) {
	t.Parallel()
	w := &slow{begun: make(chan struct{}, 1), release: make(chan struct{})}
	p := New(w)
	p.Write([]byte("first\n"))
	<-w.begun
	for range maxQueue + 7 {
		p.Write([]byte("line\n"))
	}
	close(w.release)
	p.Close(time.Minute)
	lines := strings.Split(strings.TrimSpace(w.String()), "\n")
	if len(lines) != maxQueue+2 || lines[0] != "first" || !strings.Contains(lines[1], `"lines":7`) || lines[2] != "line" {
		t.Errorf("%d lines, the first %q", len(lines), lines[:3])
	}
}

func TestCloseGivesUp(t *testing.T) {
	t.Parallel()
	w := &slow{begun: make(chan struct{}, 1), release: make(chan struct{})}
	p := New(w)
	p.Write([]byte("line\n"))
	p.Close(time.Millisecond) // returns
	close(w.release)
	<-p.done
}
