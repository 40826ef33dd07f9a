package sim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/waybillhq/waybill/relay"
)

var (
	errOutage   = errors.New("broker not available")
	errNobody   = errors.New("no leader for the key's partition")
	errTimeout  = errors.New("no confirmation in time")
	errUnwanted = errors.New("message refused")
	errNoTopic  = errors.New("unknown topic")
	errFenced   = fmt.Errorf("the broker knows a newer owner: %w", relay.ErrLost)
	errBehind   = errors.New("behind a message that was not stored")
)

// orderedSink tells the core that the sink orders a batch. The broker does the publishing.
type orderedSink struct{ relay.Sink }

func (orderedSink) OrderedBatch() {}

// rangerSource tells the core that a part of the log can be read again.
type rangerSource struct {
	relay.Source
	relay.Ranger
}

// broker stores what arrives, in the order of arrival.
type broker struct {
	w        *world
	messages []*message // all that were ever inserted, by number

	outages    int
	downUntil  time.Duration
	mute       bool          // while it is down it does not even refuse
	stuckUntil time.Duration // for the first key
	goneUntil  time.Duration // for the last topic
	told       bool          // to accept everything from now on
	epoch      int64         // the newest that an owner wrote with
	tenure     int64         // the newest of which something is stored
}

// sending is one Publish: each message is answered exactly once.
type sending struct {
	p        *proc
	epoch    int64 // that the sink was told
	tenure   int64
	until    time.Duration
	messages []*relay.Message
	confirm  func(i int, err error)
	seen     []bool
	left     int
	expiring bool
}

// publish is what a sink does with a batch. Each message travels alone, unless the sink is ordered: then with all of its key
// and topic.
func (b *broker) publish(p *proc, messages []*relay.Message, until time.Duration, confirm func(i int, err error)) {
	w := b.w
	s := &sending{p: p, epoch: p.epoch, tenure: p.tenure, until: until, messages: messages, confirm: confirm, seen: make([]bool, len(messages)), left: len(messages)}
	if w.now >= until { // the process was frozen between its decision and the call
		s.expireLater()
	} else {
		for _, run := range b.runs(messages) {
			w.after(b.late(), func() { b.arrive(s, run) })
		}
	}
	if !w.patient {
		w.after(w.between(0, w.travel), p.sent)
	}
}

// runs are the indexes of what travels together.
func (b *broker) runs(messages []*relay.Message) (runs [][]int) {
	of := map[[2]string]int{}
	for i, m := range messages {
		name := [2]string{m.Topic, m.Key}
		n, known := of[name]
		if known && b.w.ordered && m.Key != "" {
			runs[n] = append(runs[n], i)
			continue
		}
		of[name] = len(runs)
		runs = append(runs, []int{i})
	}
	return runs
}

// late is how long something travels.
func (b *broker) late() time.Duration {
	w := b.w
	if w.on(LateWrite) && !w.healed && w.chance(0.1) {
		return w.between(0, w.cfg.SendTimeout*3/2)
	}
	return w.between(0, w.travel*2)
}

// arrive is the moment of a run at the broker. What was written to a socket may come after its process has died and after
// the sink has given up.
func (b *broker) arrive(s *sending, run []int) {
	w := b.w
	type told struct {
		i   int
		err error
	}
	var answers []told
	stored, silent := true, false
	for _, i := range run {
		answer, lost := errBehind, false
		if stored || w.Broken == BatchNotOrdered {
			stored, lost, answer = b.take(s, i)
		}
		if silent = silent || lost; !silent {
			answers = append(answers, told{i, answer})
		}
	}
	back := b.late()
	if silent || w.now+back > s.until {
		s.expireLater()
	}
	w.after(back, func() {
		for _, a := range answers {
			s.answer(a.i, a.err)
		}
	})
}

// take is what becomes of one message that arrives. silent tells that the answer never comes.
func (b *broker) take(s *sending, i int) (stored, silent bool, answer error) {
	w, m := b.w, b.find(s.messages[i])
	switch {
	case m == nil:
		w.fail("invented: %s was never inserted", s.messages[i].ID)
		return false, true, nil
	case s.p.dead && w.chance(0.5), s.seen[i] && w.chance(0.5):
		return false, true, nil
	case w.now < b.downUntil:
		silent, answer = b.mute, errOutage
	default:
		if answer = b.fences(s); answer == nil {
			answer = b.refuses(m)
		}
		if answer == nil {
			b.store(s, i, m)
			return true, w.on(AckLost) && !w.healed && w.chance(0.15), nil
		}
		if relay.IsRejected(answer) {
			m.rejections++
		}
		if relay.IsTopic(answer) && w.ranger {
			w.branched[m.Topic] = true
		}
	}
	w.log("broker", "does not take", 0, m.ID+" "+m.Key+": "+answer.Error())
	return false, silent, answer
}

// fences refuses what an old owner writes once a newer one has written.
func (b *broker) fences(s *sending) error {
	if !b.w.fenced {
		return nil
	}
	if s.epoch < b.epoch {
		return errFenced
	}
	b.epoch = s.epoch
	return nil
}

// refuses returns what keeps the broker from this message, when it is well.
func (b *broker) refuses(m *message) error {
	switch now := b.w.now; {
	case now < b.stuckUntil && m.Key == keyNames[0]:
		return errNobody
	case now < b.goneUntil && m.Topic == topicNames[b.w.topics-1]:
		return relay.Topic(errNoTopic)
	case now < m.refused && !b.told:
		return relay.Rejected(errUnwanted)
	}
	return nil
}

func (b *broker) find(m *relay.Message) *message {
	n, err := strconv.Atoi(m.ID[1:])
	if err != nil || n < 1 || n > len(b.messages) {
		return nil
	}
	return b.messages[n-1]
}

func (b *broker) store(s *sending, i int, m *message) {
	got := s.messages[i]
	b.w.news++
	m.copies++
	if x := m.row.tx; !m.published() || x.lsn > b.w.db.flushed {
		b.w.fail("phantom: %s reached the broker before its transaction had committed for good", m.ID)
	}
	if b.w.fenced && s.tenure < b.tenure {
		b.w.fail("stale: %s wrote %s after its successor had written", s.p.name, m.ID)
	}
	b.tenure = max(b.tenure, s.tenure)
	if m.copies == 1 && m.Key != "" {
		b.w.checkOrder(m)
	}
	b.w.log("broker", "stores from "+s.p.name+", copy", int64(m.copies), m.ID+" "+m.Key)
	same := got.Topic == m.Topic && got.Key == m.Key && got.Type == m.Type && slices.Equal(got.Headers, m.Headers) &&
		(got.Payload == nil) == (m.Payload == nil) && bytes.Equal(got.Payload, m.Payload)
	if !same {
		b.w.fail("changed: %s reached the broker with other bytes than were published", m.ID)
	}
}

// answer tells the relay what became of a message, unless it was told before.
func (s *sending) answer(i int, err error) {
	if s.seen[i] || s.p.dead {
		return
	}
	s.seen[i] = true
	s.left--
	if s.p.w.Broken == OutageCounts && (err == errOutage || err == errTimeout) {
		s.confirm(i, relay.Rejected(err))
	} else {
		s.confirm(i, err)
	}
	s.p.signal(s.p.w.broker.find(s.messages[i]), err)
	if s.left == 0 && s.p.w.patient {
		s.p.sent()
	}
}

// expireLater answers for the broker when the send timeout has passed.
func (s *sending) expireLater() {
	if s.expiring {
		return
	}
	s.expiring = true
	w, at := s.p.w, s.until
	if w.on(SilentSink) && !w.healed && w.chance(0.3) { // the relay's own patience ends later
		at += w.cfg.SendTimeout
	}
	w.after(max(at-w.now, 0), s.expire)
}

func (s *sending) expire() {
	for i := range s.messages {
		s.answer(i, errTimeout)
	}
}
