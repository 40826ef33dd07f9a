package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
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

// Check connects and returns what does not hold of all that the promise needs from the server, for Config.Stream and for
// the streams of the topics given. It changes nothing but, with Create, a missing stream.
func (s *Sink) Check(ctx context.Context, topics ...string) []error {
	if err := s.enter(); err != nil {
		return []error{err}
	}
	defer s.flight.Done()
	l, err := s.connected(ctx)
	if err != nil {
		return []error{err}
	}
	var found []error
	say := func(format string, args ...any) { found = append(found, fmt.Errorf("waybill: "+format, args...)) }
	var major, minor, patch int
	_, err = fmt.Sscanf(l.nc.ConnectedServerVersion(), "%d.%d.%d", &major, &minor, &patch)
	if err == nil && (major < 2 || major == 2 && (minor < 10 || minor == 10 && patch < 23)) {
		say("WB2201 jetstream: server %s can lose what it acknowledged. Try: 2.10.23 or newer", l.nc.ConnectedServerVersion())
	}
	names := map[string]bool{}
	if s.config.Stream != "" {
		names[s.config.Stream] = true
	}
	for _, topic := range topics {
		name, err := l.js.StreamNameBySubject(ctx, topic)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			found = append(found, errNoStream(topic))
		case err != nil:
			found = append(found, errNotReady(topic, err))
		default:
			names[name] = true
		}
	}
	for name := range names {
		stream, err := l.js.Stream(ctx, name)
		if err != nil {
			say("WB2202 jetstream: read stream %q: %w. Try: look whether it exists and this user may ask for it", name, err)
			continue
		}
		c := stream.CachedInfo().Config
		if c.Storage != jetstream.FileStorage {
			say("WB2203 jetstream: stream %q is kept in memory, a restart of the server loses it. Try: file storage", name)
		}
		if c.NoAck {
			say("WB2204 jetstream: stream %q acknowledges nothing, so nothing is ever confirmed. Try: no_ack off", name)
		}
		if c.Discard == jetstream.DiscardOld && (c.MaxBytes > 0 || c.MaxMsgs > 0 || c.MaxMsgsPerSubject > 0) {
			say("WB2205 jetstream: stream %q is bounded and throws away its oldest messages when it is full. Try: discard new", name)
		}
		if c.MaxAge > 0 {
			say("WB2206 jetstream: stream %q drops messages after %v, read or not. Try: no max_age, or more than the longest lag of a consumer", name, c.MaxAge)
		}
		if c.Duplicates < 2*time.Minute {
			say("WB2207 jetstream: stream %q remembers message ids for %v only. Try: a duplicate window longer than the longest pause of a relay, such as 2m", name, c.Duplicates)
		}
		if l.nc.ConnectedClusterName() != "" && c.Replicas < 3 {
			say("WB2208 jetstream: stream %q is stored by %d server of the cluster. Try: 3 replicas", name, c.Replicas)
		}
	}
	return found
}
