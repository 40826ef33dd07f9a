package kafka

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leader is a broker and the partitions it leads that have something to send. Guarded by Sink.mu.
type leader struct {
	number int32
	flying int
	ready  []*partition
}

const (
	maxFlying  = 2       // the broker works on one request of a connection at a time; one more waits at its door
	maxRequest = 8 << 20 // bytes in one request
	minPause   = 20 * time.Millisecond
	maxPause   = 500 * time.Millisecond
)

// request is one produce request: at most one batch of each partition of one leader.
type request struct {
	parts  []*partition
	ctx    context.Context
	cancel context.CancelFunc
}

func (s *Sink) pumpAll() (failed []outcome) {
	if s.fence != nil {
		s.fence.wake()
		return nil
	}
	for _, l := range s.leaders {
		failed = append(failed, s.pump(l)...)
	}
	return failed
}

// pump sends what is ready, and returns what failed before it was sent. Called with Sink.mu held.
func (s *Sink) pump(l *leader) (failed []outcome) {
	for l.flying < maxFlying && len(l.ready) > 0 {
		r := &request{}
		size := 0
		for len(l.ready) > 0 && size < maxRequest {
			p := l.ready[0]
			l.ready = l.ready[1:]
			p.ready = false
			if p.leader != l.number {
				p.wake()
				failed = append(failed, s.pump(s.leaders[p.leader])...)
				continue
			}
			failed = append(failed, p.prepare()...)
			if p.batch == nil {
				continue
			}
			if p.leader < 0 {
				s.lookUp(p.topic)
				s.again(p, errNoLeader(p))
				continue
			}
			r.parts = append(r.parts, p)
			for _, e := range p.batch.entries {
				size += len(e.record)
			}
		}
		if len(r.parts) == 0 {
			continue
		}
		l.flying++
		s.register(r)
		s.background.Go(func() { s.send(l, r) })
	}
	return failed
}

// prepare makes p's batch: a new one, or the one that waits to be sent again, if it has time left.
func (p *partition) prepare() (failed []outcome) {
	if p.batch != nil {
		p.batch.state = flying
		if p.batch.expired() {
			failed = p.give(errPassed)
		}
	}
	if p.batch == nil {
		failed = append(failed, p.cut()...)
	}
	return failed
}

// register makes a request end with the first of its calls.
func (s *Sink) register(r *request) {
	var end time.Time
	for _, p := range r.parts {
		for _, e := range p.batch.entries {
			if e.call.requests[r] {
				continue
			}
			e.call.requests[r] = true
			if at, ok := e.call.ctx.Deadline(); ok && (end.IsZero() || at.Before(end)) {
				end = at
			}
		}
	}
	if end.IsZero() {
		end = time.Now().Add(time.Hour)
	}
	r.ctx, r.cancel = context.WithDeadline(s.ctx, end)
}

func (s *Sink) unregister(r *request) {
	r.cancel()
	for _, p := range r.parts {
		if p.batch != nil {
			for _, e := range p.batch.entries {
				delete(e.call.requests, r)
			}
		}
	}
}

func (s *Sink) send(l *leader, r *request) {
	answers, err := s.produce(r, l.number)
	s.mu.Lock()
	s.unregister(r)
	l.flying--
	var done []outcome
	for _, p := range r.parts {
		if err != nil {
			done = append(done, s.failed(p, err)...)
			continue
		}
		answer, ok := answers[slot{p.topic.name, p.number}]
		if !ok {
			done = append(done, s.failed(p, errSilent)...)
			continue
		}
		done = append(done, s.answered(p, answer)...)
	}
	for _, p := range r.parts {
		p.wake()
	}
	done = append(done, s.pump(l)...)
	s.mu.Unlock()
	settle(done)
}

// roomy is a request that makes room for itself at once: growing bit by bit would copy it several times.
type roomy struct {
	*kmsg.ProduceRequest
	size int
}

func (r *roomy) AppendTo(b []byte) []byte {
	return r.ProduceRequest.AppendTo(slices.Grow(b, r.size+1<<10))
}

type slot struct {
	topic     string
	partition int32
}

// produce writes the request and waits for the answer. It never tries twice.
func (s *Sink) produce(r *request, to int32) (map[slot]kmsg.ProduceResponseTopicPartition, error) {
	req := kmsg.NewPtrProduceRequest()
	req.Acks = -1 // all in-sync replicas
	if end, ok := r.ctx.Deadline(); ok {
		req.TimeoutMillis = int32(min(max(time.Until(end).Milliseconds(), 1), 30_000))
	}
	at, size := map[string]int{}, 0
	if err := s.identify(r); err != nil {
		return nil, err
	}
	for _, p := range r.parts {
		if p.batch.bytes == nil {
			p.batch.bytes = encodeBatch(p.batch.entries, p.producer, s.config.compressor)
		}
		size += len(p.batch.bytes)
		i, ok := at[p.topic.name]
		if !ok {
			i = len(req.Topics)
			at[p.topic.name] = i
			req.Topics = append(req.Topics, kmsg.ProduceRequestTopic{Topic: p.topic.name})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, kmsg.ProduceRequestTopicPartition{Partition: p.number, Records: p.batch.bytes})
	}
	if s.fence != nil {
		req.TransactionID = &s.config.TransactionalID
	}
	kresp, err := s.client.Broker(int(to)).Request(r.ctx, &roomy{req, size})
	if err != nil {
		return nil, err
	}
	answers := map[slot]kmsg.ProduceResponseTopicPartition{}
	for _, t := range kresp.(*kmsg.ProduceResponse).Topics {
		for _, p := range t.Partitions {
			answers[slot{t.Topic, p.Partition}] = p
		}
	}
	return answers, nil
}

// identify gives each partition a producer id of its own. Its epoch grows with every batch that was not confirmed, so that
// a copy of such a batch that is still under way somewhere is refused once a later one is stored.
func (s *Sink) identify(r *request) error {
	var all sync.WaitGroup
	errs := make([]error, len(r.parts))
	for i, p := range r.parts {
		if p.producer.known || s.fence != nil {
			continue
		}
		all.Go(func() {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.TransactionTimeoutMillis = math.MaxInt32
			resp, err := req.RequestWith(r.ctx, s.client)
			if err == nil {
				err = kerr.ErrorForCode(resp.ErrorCode)
			}
			if errs[i] = err; err == nil {
				p.producer = producer{id: resp.ProducerID, epoch: resp.ProducerEpoch, known: true}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// answered sorts what the broker says about p's batch. Called with Sink.mu held, as those below.
func (s *Sink) answered(p *partition, answer kmsg.ProduceResponseTopicPartition) []outcome {
	err := kerr.ErrorForCode(answer.ErrorCode)
	if err == nil || err == kerr.DuplicateSequenceNumber { // the broker has it, from an attempt whose answer was lost
		return p.stored()
	}
	text := ""
	if answer.ErrorMessage != nil {
		text = *answer.ErrorMessage
	}
	switch classOf(err) {
	case retriable:
		s.lookUp(p.topic)
		return s.retry(p, errRefused(p, err, text))
	case tooMuch:
		if n := len(p.batch.entries); n > 1 { // which of them it is shows when they come in halves
			p.limit = n / 2
			p.queue = slices.Concat(p.batch.entries, p.queue)
			p.forget()
			return nil
		}
		return p.give(errRejected(p, p.batch.entries[0], err, text))
	case topicFault:
		return p.give(errForbidden(p.topic.name, err))
	}
	return p.give(errRefused(p, err, text))
}

// failed is for a request without an answer: what became of it is not known.
func (s *Sink) failed(p *partition, err error) []outcome {
	if isLogin(err) {
		return p.give(errConnect(err))
	}
	if ke := (*kerr.Error)(nil); errors.As(err, &ke) && !ke.Retriable {
		return p.give(errRefused(p, err, ""))
	}
	s.lookUp(p.topic)
	return s.retry(p, errLost(err))
}

// retry sends the batch once more, with the same numbers, after a pause; at the end of its time it fails.
func (s *Sink) retry(p *partition, err error) []outcome {
	if p.batch.expired() {
		return p.give(errUnconfirmed(err, nil))
	}
	s.again(p, err)
	return nil
}

func (s *Sink) again(p *partition, err error) {
	s.trouble.Store(&err)
	b := p.batch
	b.tries++
	b.state = pausing
	pause := min(minPause<<min(b.tries, 10), maxPause)
	pause = pause/2 + rand.N(pause/2)
	s.background.Go(func() {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		var failed []outcome
		if p.batch == b {
			b.state = due
			p.wake()
			failed = s.pumpAll()
		}
		s.mu.Unlock()
		settle(failed)
	})
}

func (p *partition) stored() []outcome {
	done := make([]outcome, len(p.batch.entries))
	for i, e := range p.batch.entries {
		done[i].entry = e
	}
	p.producer.sequence += int32(len(done))
	if p.batch.tries == 0 { // else an earlier request may still be about to be written
		spares.Put(&p.batch.bytes)
	}
	if p.limit *= 2; p.limit > 1<<16 {
		p.limit = 0
	}
	p.batch = nil
	if p.producer.sequence > math.MaxInt32-1<<20 {
		p.forget()
	}
	p.topic.sink.trouble.Store(nil)
	return done
}

// give fails the whole batch.
func (p *partition) give(err error) []outcome {
	failed := fail(p.batch.entries, err)
	p.forget()
	return failed
}

// forget ends a batch that was not confirmed; the next one begins a new epoch.
func (p *partition) forget() {
	p.batch = nil
	p.producer.sequence = 0
	if p.producer.epoch++; p.producer.epoch == math.MaxInt16 {
		p.producer.known = false
	}
}
