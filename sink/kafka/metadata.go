package kafka

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	askTime   = 5 * time.Second
	askPause  = 100 * time.Millisecond
	askMisses = 3 // a broker that has not heard of a new topic yet says that it is missing
)

// lookUp has a topic asked for, in the background. Called with Sink.mu held.
func (s *Sink) lookUp(t *topic) {
	s.stale[t] = true
	if !s.refreshing {
		s.refreshing = true
		s.background.Go(s.refresh)
	}
}

func (s *Sink) refresh() {
	for {
		s.mu.Lock()
		asked := s.stale
		s.stale = map[*topic]bool{}
		if len(asked) == 0 || s.ctx.Err() != nil {
			s.refreshing = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		found, faults, err := s.ask(asked)
		s.mu.Lock()
		var failed []outcome
		for t := range asked {
			if err != nil {
				failed = append(failed, fail(t.waiting, err)...)
				t.waiting = nil
			} else if err := faults[t.name]; err != nil {
				failed = append(failed, t.drop(err)...)
			} else {
				failed = append(failed, t.learn(found[t.name])...)
			}
		}
		failed = append(failed, s.pumpAll()...)
		s.mu.Unlock()
		settle(failed)
		select {
		case <-time.After(askPause):
		case <-s.ctx.Done():
		}
	}
}

// ask returns what the brokers know of the topics, and makes those that are missing if it may.
func (s *Sink) ask(topics map[*topic]bool) (found map[string]kmsg.MetadataResponseTopic, faults map[string]error, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, askTime)
	defer cancel()
	var names, missing []string
	for t := range topics {
		names = append(names, t.name)
	}
	if found, err = s.metadata(ctx, names); err != nil {
		return nil, nil, err
	}
	for name, t := range found {
		if t.ErrorCode == kerr.UnknownTopicOrPartition.Code {
			missing = append(missing, name)
		}
	}
	if s.config.Create && len(missing) > 0 {
		faults = s.create(ctx, missing)
	}
	return found, faults, nil
}

func (s *Sink) metadata(ctx context.Context, names []string) (map[string]kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	req.IncludeTopicAuthorizedOperations = true
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		return nil, errConnect(err)
	}
	found := map[string]kmsg.MetadataResponseTopic{}
	for _, t := range resp.Topics {
		if t.Topic != nil {
			found[*t.Topic] = t
		}
	}
	return found, nil
}

// learn takes in what the brokers said about the topic. Called with Sink.mu held.
func (t *topic) learn(found kmsg.MetadataResponseTopic) []outcome {
	s := t.sink
	err := kerr.ErrorForCode(found.ErrorCode)
	switch {
	case found.Topic == nil:
		err = errSilent // the answer did not name the topic
	case err == kerr.UnknownTopicOrPartition:
		if t.missed++; t.missed >= askMisses && !s.config.Create {
			t.known = time.Time{}
			return t.drop(errNoTopic(t.name))
		}
	case err == kerr.InvalidTopicException:
		return t.drop(errBadTopic(t.name))
	case err == kerr.TopicAuthorizationFailed:
		return t.drop(errForbidden(t.name, err))
	}
	pinned := s.config.Partitions[t.name]
	if err == nil && len(found.Partitions) < max(pinned, 1) {
		t.known = time.Time{}
		return t.drop(errFewer(t.name, len(found.Partitions), pinned))
	}
	if err != nil { // no leader yet, or just created
		why := errAsking(t.name, err)
		s.trouble.Store(&why)
		t.waiting = slices.DeleteFunc(t.waiting, func(e entry) bool { return e.call.expired }) // expire has settled them
		if len(t.waiting) > 0 {
			s.lookUp(t)
		}
		return nil
	}
	t.missed = 0
	n := len(found.Partitions)
	if t.count != 0 && t.count != n && s.config.Logger != nil {
		s.config.Logger.Warn("kafka: the topic has another number of partitions: new messages of a key may lie in another one than its older ones",
			"topic", t.name, "before", t.count, "now", n, "pinned", pinned)
	}
	t.count = n
	if pinned > 0 {
		n = pinned
	}
	var failed []outcome
	for len(t.parts) > n {
		last := t.parts[len(t.parts)-1]
		failed = append(failed, fail(last.queue, errAsking(t.name, kerr.UnknownTopicOrPartition))...)
		last.queue = nil
		t.parts = t.parts[:len(t.parts)-1]
	}
	for len(t.parts) < n {
		t.parts = append(t.parts, &partition{topic: t, number: int32(len(t.parts)), leader: -1})
	}
	for _, p := range found.Partitions {
		if int(p.Partition) < n {
			t.parts[p.Partition].leader = p.Leader
		}
	}
	t.known = time.Now()
	waiting := t.waiting
	t.waiting = nil
	for len(waiting) > 0 { // each call's on their own
		to := slices.IndexFunc(waiting, func(e entry) bool { return e.call != waiting[0].call })
		if to < 0 {
			to = len(waiting)
		}
		failed = append(failed, t.take(waiting[:to])...)
		waiting = waiting[to:]
	}
	return failed
}

// create makes topics as the configuration says. Some other process may have been quicker.
func (s *Sink) create(ctx context.Context, names []string) map[string]error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = int32(askTime.Milliseconds())
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
		if s.config.CreatePartitions > 0 {
			t.NumPartitions = int32(s.config.CreatePartitions)
		}
		if s.config.CreateReplicas > 0 {
			t.ReplicationFactor = int16(s.config.CreateReplicas)
		}
		if s.config.CreateMinInSync > 0 {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = "min.insync.replicas", kmsg.StringPtr(strconv.Itoa(s.config.CreateMinInSync))
			t.Configs = append(t.Configs, c)
		}
		req.Topics = append(req.Topics, t)
	}
	faults := map[string]error{}
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		for _, name := range names {
			faults[name] = errConnect(err)
		}
		return faults
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil && err != kerr.TopicAlreadyExists {
			text := ""
			if t.ErrorMessage != nil {
				text = *t.ErrorMessage
			}
			faults[t.Topic] = errCreate(t.Topic, err, text)
		}
	}
	return faults
}
