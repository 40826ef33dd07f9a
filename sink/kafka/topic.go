package kafka

import (
	"time"
)

// topic is what the sink knows of a topic. All of it is guarded by Sink.mu.
type topic struct {
	sink    *Sink
	name    string
	parts   []*partition // those in use: all there are, or as many as Config.Partitions says
	known   time.Time    // when the brokers were last asked; zero: never with success
	count   int          // partitions that there are
	missed  int          // how often in a row the brokers said that there is no such topic
	waiting []entry      // until the topic is known
	next    int          // of the messages without a key
}

// partition sends its messages in order: one batch is under way, and what is behind it waits.
type partition struct {
	topic    *topic
	number   int32
	leader   int32 // -1: none at the moment
	queue    []entry
	batch    *batch
	ready    bool // it stands in its leader's list
	limit    int  // most messages in a batch while one that is refused is looked for; 0: no limit
	producer producer
}

// batch is what is under way, encoded once: sent again it has the same numbers, so the broker knows a copy.
type batch struct {
	entries []entry
	bytes   []byte
	tries   int
	state   state
}

type state int

const (
	flying  state = iota // in a request
	pausing              // waits for its next try
	due                  // may go again
)

// metadataAge is how long what is known of a topic serves before it is asked for anew.
const metadataAge = time.Minute

func (s *Sink) topic(name string) *topic {
	t := s.topics[name]
	if t == nil {
		t = &topic{sink: s, name: name}
		s.topics[name] = t
	}
	return t
}

// take queues entries of one call, and returns those that fail at once.
func (t *topic) take(entries []entry) (failed []outcome) {
	if entries[0].call.expired {
		return nil // expire has settled them
	}
	if time.Since(t.known) > metadataAge {
		t.sink.lookUp(t)
	}
	if t.known.IsZero() {
		t.waiting = append(t.waiting, entries...)
		return nil
	}
	for _, e := range entries {
		if e.call.isBroken(e) {
			failed = append(failed, fail([]entry{e}, errBehind(e))...)
			continue
		}
		p := t.choose(e)
		p.queue = append(p.queue, e)
		p.wake()
	}
	return append(failed, t.sink.pumpAll()...)
}

func (t *topic) choose(e entry) *partition {
	if e.line.key != "" {
		return t.parts[partitionOf(e.line.key, len(t.parts))]
	}
	for range t.parts { // in turn, but none without a leader
		t.next++
		if p := t.parts[t.next%len(t.parts)]; p.leader >= 0 {
			return p
		}
	}
	return t.parts[t.next%len(t.parts)]
}

// drop empties the topic's queues: nothing of it can be stored. A batch that is in a request waits for its answer.
func (t *topic) drop(err error) (failed []outcome) {
	failed = fail(t.waiting, err)
	t.waiting = nil
	for _, p := range t.parts {
		failed = append(failed, fail(p.queue, err)...)
		p.queue = nil
		if p.batch != nil && p.batch.state != flying {
			failed = append(failed, p.give(err)...)
		}
	}
	return failed
}

// wake puts a partition that has something to send into its leader's list.
func (p *partition) wake() {
	if p.ready || p.batch == nil && len(p.queue) == 0 || p.batch != nil && p.batch.state != due {
		return
	}
	p.ready = true
	if f := p.topic.sink.fence; f != nil {
		f.ready = append(f.ready, p)
		return
	}
	l := p.topic.sink.leaders[p.leader]
	if l == nil {
		l = &leader{number: p.leader}
		p.topic.sink.leaders[p.leader] = l
	}
	l.ready = append(l.ready, p)
}

// cut takes the next batch from the queue: as many as fit, none behind a failure of its key.
func (p *partition) cut() (failed []outcome) {
	size, most, n := batchHeader, p.topic.sink.config.MaxBatchBytes, 0
	taken := make([]entry, 0, min(len(p.queue), 1024))
	for _, e := range p.queue {
		if e.call.expired {
			n++
			continue
		}
		if e.call.isBroken(e) {
			failed = append(failed, outcome{e, errBehind(e)})
			n++
			continue
		}
		size += len(e.record) + recordOverhead - batchHeader
		if size > most || p.limit > 0 && len(taken) == p.limit {
			break
		}
		taken = append(taken, e)
		n++
	}
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil // frees what was sent
	}
	if len(taken) > 0 {
		p.batch = &batch{entries: taken}
	}
	return failed
}

// expired tells whether some message of the batch has no time left. Then the batch must not be sent again.
func (b *batch) expired() bool {
	for _, e := range b.entries {
		if e.call.expired {
			return true
		}
	}
	return false
}
