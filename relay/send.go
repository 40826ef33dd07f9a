package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// sending is one call of Publish and what is still to be confirmed of it.
type sending struct {
	shell   *shell
	entries []*entry
	cancel  context.CancelFunc
	done    func(i int, err error) // of the observer

	mu   sync.Mutex
	seen []bool
	left int
}

var errBehind = errors.New("waybill: an earlier message of the key was not published")

// send runs one Publish. Whatever the sink does, each message gets exactly one outcome.
func (s *shell) send(a actSend) {
	messages := make([]*Message, 0, len(a.entries))
	var bad []confirmation
	entries := a.entries[:0:0]
	spoilt := map[*lane]bool{}
	for _, e := range a.entries {
		if err := sendable(e.msg); err != nil {
			bad = append(bad, confirmation{e, Rejected(err)})
			spoilt[e.lane] = e.lane != nil
			continue
		}
		if spoilt[e.lane] {
			bad = append(bad, confirmation{e, errBehind})
			continue
		}
		messages, entries = append(messages, e.msg), append(entries, e)
	}
	s.confirm(bad...)
	if len(messages) == 0 {
		s.events <- evSent{}
		return
	}
	ctx, cancel := context.WithDeadline(s.base, s.start.Add(a.until))
	observed, done := ctx, func(int, error) {}
	if s.cfg.Observer != nil {
		observed, done = s.cfg.Observer.Send(ctx, messages)
	}
	out := &sending{shell: s, entries: entries, cancel: cancel, done: done, seen: make([]bool, len(entries)), left: len(entries)}
	late := time.AfterFunc(time.Until(s.start.Add(a.until))+s.cfg.SendTimeout, func() {
		out.rest(fmt.Errorf("waybill: WB2002 the sink did not say what became of the message within twice the send timeout"))
	})
	context.AfterFunc(ctx, func() {
		if out.complete() {
			late.Stop()
		}
	})
	go func() {
		defer func() {
			if p := recover(); p != nil {
				out.rest(fmt.Errorf("waybill: WB2001 the sink panicked: %v", p))
			}
			s.events <- evSent{}
		}()
		s.cfg.Sink.Publish(observed, messages, out.confirm)
	}()
}

func (o *sending) confirm(i int, err error) {
	o.mu.Lock()
	if o.seen[i] {
		o.mu.Unlock()
		return
	}
	o.seen[i] = true
	o.left--
	last := o.left == 0
	o.mu.Unlock()

	o.done(i, err)
	o.shell.confirm(confirmation{o.entries[i], err})
	if last {
		o.cancel()
	}
}

// confirm hands outcomes to the loop, which takes all that came since it last looked at once.
func (s *shell) confirm(list ...confirmation) {
	if len(list) == 0 {
		return
	}
	s.mu.Lock()
	s.confirms = append(s.confirms, list...)
	s.mu.Unlock()
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

func (o *sending) complete() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.left == 0
}

// rest gives err to every message that has no outcome yet.
func (o *sending) rest(err error) {
	for i := range o.entries {
		o.confirm(i, err)
	}
}
