package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/relay"
)

func create(ctx context.Context, js jetstream.JetStream, c Config) error {
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: c.Stream, Subjects: c.Subjects, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		Duplicates: c.Duplicates, Replicas: c.Replicas, MaxBytes: c.MaxBytes,
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil
	}
	return err
}

// Check implements relay.Checker: it looks at Config.Stream and at the streams of the topics. It changes nothing: what
// Create would make, the first Publish makes, and until then it is no finding.
func (s *Sink) Check(ctx context.Context, topics []string) (found []relay.Finding, err error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.flight.Done()
	l, err := s.connected(ctx, false)
	if err != nil {
		return nil, err
	}
	add := func(refuse bool, text string) {
		found = append(found, relay.Finding{Refuse: refuse, Text: strings.TrimPrefix(text, "waybill: ")})
	}
	warn := func(format string, args ...any) { add(false, fmt.Sprintf(format, args...)) }
	refuse := func(format string, args ...any) { add(true, fmt.Sprintf(format, args...)) }
	var major, minor, patch int
	_, err = fmt.Sscanf(l.nc.ConnectedServerVersion(), "%d.%d.%d", &major, &minor, &patch)
	if err == nil && (major < 2 || major == 2 && (minor < 10 || minor == 10 && patch < 23)) {
		refuse("WB2201 jetstream: server %s can lose what it acknowledged. Try: 2.10.23 or newer", l.nc.ConnectedServerVersion())
	}
	names := map[string]bool{}
	unmade := false // Create makes it
	if s.config.Stream != "" {
		_, err := ask(ctx, s.config.Stream, l.js.Stream)
		unmade = s.config.Create && errors.Is(err, jetstream.ErrStreamNotFound)
		if !unmade {
			names[s.config.Stream] = true
		}
	}
	for _, topic := range topics {
		name, err := ask(ctx, topic, l.js.StreamNameBySubject)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound) && unmade:
		case errors.Is(err, jetstream.ErrStreamNotFound):
			add(false, errNoStream(topic).Error())
		case err != nil && l.blind.Load():
			warn("WB2202 jetstream: find the stream of topic %q: this user may not ask. Try: allow $JS.API.STREAM.NAMES and $JS.API.STREAM.INFO.*", topic)
		case err != nil:
			return found, errNotReady(topic, err)
		default:
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		stream, err := ask(ctx, name, l.js.Stream)
		if ctx.Err() != nil {
			return found, errNotReady(name, err)
		}
		if err != nil {
			warn("WB2202 jetstream: read stream %q: %v. Try: look whether it exists and this user may ask for it", name, err)
			continue
		}
		c := stream.CachedInfo().Config
		if c.Storage != jetstream.FileStorage {
			refuse("WB2203 jetstream: stream %q is kept in memory, a restart of the server loses it. Try: file storage", name)
		}
		if c.NoAck {
			warn("WB2204 jetstream: stream %q acknowledges nothing, so nothing is ever confirmed. Try: no_ack off", name)
		}
		if c.Discard == jetstream.DiscardOld && (c.MaxBytes > 0 || c.MaxMsgs > 0 || c.MaxMsgsPerSubject > 0) {
			refuse("WB2205 jetstream: stream %q is bounded and throws away its oldest messages when it is full. Try: discard new", name)
		}
		if c.MaxAge > 0 {
			warn("WB2206 jetstream: stream %q drops messages after %v, read or not. Try: no max_age, or more than the longest lag of a consumer", name, c.MaxAge)
		}
		if c.Duplicates < 2*time.Minute {
			warn("WB2207 jetstream: stream %q remembers message ids for %v only. Try: a duplicate window longer than the longest pause of a relay, such as 2m", name, c.Duplicates)
		}
		if l.nc.ConnectedClusterName() != "" && c.Replicas < 3 {
			warn("WB2208 jetstream: stream %q is stored by %d server of the cluster. Try: 3 replicas", name, c.Replicas)
		}
	}
	return found, nil
}

// ask bounds one question: one that this user may not ask has no answer.
func ask[T any](ctx context.Context, about string, question func(context.Context, string) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return question(ctx, about)
}
