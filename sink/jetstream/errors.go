package jetstream

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/relay"
)

var errClosed = errors.New("waybill: WB2005 jetstream: the sink is closed. Try: make a new one")

// Temporary: the whole connection, or an outcome that is not known.

func errConnect(err error) error {
	return fmt.Errorf("waybill: WB2101 jetstream: no connection: %w. Try: check the address, the credentials and that the server runs", err)
}

func errLost(err error) error {
	if err == nil {
		err = nats.ErrConnectionClosed
	}
	return fmt.Errorf("waybill: WB2102 jetstream: the connection broke before the confirmation: %w. Try: nothing, the message is sent again", err)
}

func errUnconfirmed(cause error, trouble *error) error {
	if trouble != nil {
		cause = fmt.Errorf("%w; the server said before: %w", cause, *trouble)
	}
	return fmt.Errorf("waybill: WB2103 jetstream: no confirmation in time: %w. Try: look whether the stream has a leader, and whether this user may subscribe to _INBOX.>", cause)
}

func errCreate(stream string, err error) error {
	return fmt.Errorf("waybill: WB2104 jetstream: create stream %q: %w. Try: make it by hand and leave out Create", stream, err)
}

func errNotReady(topic string, err error) error {
	return fmt.Errorf("waybill: WB2105 jetstream: JetStream does not answer for topic %q: %w. Try: look whether it is enabled, and whether the cluster has a leader", topic, err)
}

func errNoLeader(topic, stream string) error {
	return fmt.Errorf("waybill: WB2106 jetstream: stream %q of topic %q has no leader at the moment. Try: wait, or look at `nats stream info`", stream, topic)
}

// The topic's: other topics are fine.

func errNoStream(topic string) error {
	return relay.Topic(fmt.Errorf("waybill: WB2111 jetstream: no stream stores topic %q. Try: add the subject to a stream", topic))
}

func errForbidden(topic string) error {
	return relay.Topic(fmt.Errorf("waybill: WB2112 jetstream: this user may not publish to topic %q. Try: allow it in the server's permissions", topic))
}

// The message's own: it can never be stored as it is.

func errSubject(m *relay.Message, fault string) error {
	return relay.Rejected(fmt.Errorf("waybill: WB2121 jetstream: message %s: topic %.80q %s. Try: words joined by single dots", m.ID, m.Topic, fault))
}

func errHeader(m *relay.Message, name, fault string) error {
	return relay.Rejected(fmt.Errorf("waybill: WB2122 jetstream: message %s: header %.80q %s. Try: another name or value", m.ID, name, fault))
}

func errPublish(m *relay.Message, err error, limit int64) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return relay.Rejected(fmt.Errorf("waybill: WB2123 jetstream: message %s: payload of %d bytes and its headers exceed the server's max_payload of %d. Try: a smaller payload, or a larger max_payload", m.ID, len(m.Payload), limit))
	case errors.Is(err, nats.ErrBadHeaderMsg):
		return errHeader(m, "", "has a name that cannot be sent")
	case errors.Is(err, nats.ErrBadSubject):
		return errSubject(m, "is not a subject")
	}
	return errLost(err)
}

// errRefused sorts what a stream answers. What is not known to be for ever is an outage: a full store, no quorum, a limit of
// the account.
func errRefused(topic, stream string, e *jetstream.APIError) error {
	const (
		headerTooLarge = 10097
		sealed         = 10109
	)
	err := fmt.Errorf("waybill: WB2113 jetstream: stream %q does not store topic %q: %w. Try: look at `nats stream info`", stream, topic, e)
	switch e.ErrorCode {
	case jetstream.JSErrCodeStreamMessageExceedsMaximum, headerTooLarge:
		return relay.Rejected(err)
	case sealed:
		return relay.Topic(err)
	}
	return err
}
