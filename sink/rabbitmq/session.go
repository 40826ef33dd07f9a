package rabbitmq

import (
	"slices"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybillhq/waybill/relay"
)

// session is one channel with its messages in flight. A single goroutine takes the returns and, from one goroutine per
// topic, the acknowledgements. The client hands a return over before it reads on, so when a message lands its return lies
// in the channel already, which is emptied first. (NotifyPublish would do without more goroutines, but it tells
// acknowledgements in order: one queue without a leader would hold up all others. A topic's are waited for in order, as its
// queues give them; a goroutine per message costs twice what the sink does else.)
type session struct {
	link    *link
	ch      *amqp.Channel
	returns chan amqp.Return
	closes  chan *amqp.Error
	landed  chan []*flight
	cause   *amqp.Error   // why the channel was closed
	places  chan struct{} // one is taken by each message in flight

	mu       sync.Mutex
	inFlight int
	byID     map[string][]*flight
	waiting  map[string][]*flight // by topic, in the order of publishing; a topic that is there has a goroutine
	ended    bool
}

// flight is one message on a channel.
type flight struct {
	call      *call
	index     int
	id, topic string
	returned  bool
	outcome   *amqp.DeferredConfirmation // nil: it was not sent
}

func (l *link) open() (*session, error) {
	ch, err := l.conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	s := &session{link: l, ch: ch, landed: make(chan []*flight), places: make(chan struct{}, 1024), byID: map[string][]*flight{}, waiting: map[string][]*flight{}}
	// The client waits 5 s for room and then drops a return. After a pause of the process that time may be over, so it must never wait:
	// there is room for all that is in flight.
	s.returns = ch.NotifyReturn(make(chan amqp.Return, cap(s.places)))
	s.closes = ch.NotifyClose(make(chan *amqp.Error, 1))
	go s.collect()
	return s, nil
}

// publish waits while the channel is full. At the end of its time the call is then one that writes, so that the connection is cut
// and a channel full of what is never acknowledged goes with it.
func (s *session) publish(f *flight, p amqp.Publishing) {
	select {
	case s.places <- struct{}{}:
	case <-f.call.ctx.Done():
		return
	}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		f.call.settle(f.index, errLost(nil))
		return
	}
	s.inFlight++
	s.byID[f.id] = append(s.byID[f.id], f)
	s.mu.Unlock()
	if confirmation, err := s.ch.PublishWithDeferredConfirm(s.link.config.Exchange, f.topic, true, false, p); err == nil {
		f.outcome = confirmation
	}
	s.mu.Lock()
	list, waited := s.waiting[f.topic]
	s.waiting[f.topic] = append(list, f)
	s.mu.Unlock()
	if !waited {
		go s.wait(f.topic)
	}
}

// wait lands the messages of a topic, as many at once as are known, and ends when none is left: with the channel at the latest.
func (s *session) wait(topic string) {
	for {
		s.mu.Lock()
		list := s.waiting[topic]
		if len(list) == 0 {
			delete(s.waiting, topic)
			s.mu.Unlock()
			return
		}
		s.waiting[topic] = nil
		s.mu.Unlock()
		for len(list) > 0 {
			if f := list[0]; f.outcome != nil {
				f.outcome.Wait()
			}
			n := 1
			for n < len(list) && list[n].known() {
				n++
			}
			s.landed <- list[:n]
			list = list[n:]
		}
	}
}

func (f *flight) known() bool {
	if f.outcome == nil {
		return true
	}
	select {
	case <-f.outcome.Done():
		return true
	default:
		return false
	}
}

func (f *flight) acked() bool { return f.outcome != nil && f.outcome.Acked() }

// collect ends when the channel is closed and every message has landed.
func (s *session) collect() {
	for {
		select {
		case r, open := <-s.returns:
			s.mark(r, open)
		case list := <-s.landed:
			for len(s.returns) > 0 {
				r, open := <-s.returns
				s.mark(r, open)
			}
			for _, f := range list {
				s.land(f)
			}
		case e, open := <-s.closes:
			s.closing(e, open)
		}
		if s.closes == nil && s.finished() {
			return
		}
	}
}

func (s *session) mark(r amqp.Return, open bool) {
	if !open {
		s.returns = nil
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.byID[r.MessageId] { // all of that id, for a return does not say which
		f.returned = true
	}
}

func (s *session) closing(e *amqp.Error, open bool) {
	if !open {
		s.closes = nil
	} else {
		s.cause = e
	}
}

func (s *session) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = s.inFlight == 0
	return s.ended
}

func (s *session) land(f *flight) {
	<-s.places
	s.mu.Lock()
	s.inFlight--
	same := slices.DeleteFunc(s.byID[f.id], func(other *flight) bool { return other == f })
	if s.byID[f.id] = same; len(same) == 0 {
		delete(s.byID, f.id)
	}
	s.mu.Unlock()
	if !f.acked() && s.ch.IsClosed() {
		select {
		case e, open := <-s.closes: // it is there before messages land for it
			s.closing(e, open)
		default:
		}
		err := s.link.whyClosed(s.cause, f)
		if relay.IsTopic(err) {
			s.link.apart.Store(f.topic, true)
		}
		f.call.fail(f, err)
		return
	}
	switch {
	case !f.acked():
		f.call.settle(f.index, errNack(f.topic))
	case f.returned:
		go func() { f.call.fail(f, s.link.whyReturned(f.topic)) }()
	default:
		s.link.apart.Delete(f.topic)
		f.call.settle(f.index, s.link.ripening(f.topic))
	}
}
