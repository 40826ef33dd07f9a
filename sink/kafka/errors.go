package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/waybillhq/waybill/relay"
)

var (
	errClosed = errors.New("waybill: WB2005 the sink is closed. Try: make a new one")
	errSilent = errors.New("the broker's answer does not mention it")
	errPassed = errors.New("waybill: WB2303 kafka: another message of the same batch had no time left, so the batch was given up. Try: nothing, it is sent again")
)

type class int

const (
	temporary  class = iota
	retriable        // the same batch may be stored a little later
	tooMuch          // the broker refuses a message of the batch
	topicFault       // the topic's, whatever the message
)

func classOf(err error) class {
	switch err {
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp:
		return tooMuch
	case kerr.TopicAuthorizationFailed, kerr.InvalidTopicException:
		return topicFault
	}
	if kerr.IsRetriable(err) {
		return retriable
	}
	return temporary
}

// isLogin tells whether err will not go away by itself within the time of a call: who we are, or who they are.
func isLogin(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		alert       tls.AlertError
		header      tls.RecordHeaderError
		file        *fs.PathError
	)
	return errors.As(err, &certificate) || errors.As(err, &alert) || errors.As(err, &header) || errors.As(err, &file) ||
		errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism) || errors.Is(err, kerr.IllegalSaslState)
}

func errConfig(err error) error {
	return fmt.Errorf("waybill: WB4203 kafka sink: the client refuses its options: %w. Try: leave out Options", err)
}

// An outage or an unknown outcome: sent again by the relay.

func errConnect(err error) error {
	return fmt.Errorf("waybill: WB2301 kafka: no connection: %w. Try: correct the brokers' addresses, the login or the certificates, or start the brokers", err)
}

func errLost(err error) error {
	return fmt.Errorf("waybill: WB2302 kafka: the answer of the broker did not come: %w. Try: nothing, it is sent again", err)
}

func errUnconfirmed(cause error, trouble *error) error {
	if trouble != nil {
		cause = fmt.Errorf("%w; before that: %w", cause, *trouble)
	}
	return fmt.Errorf("waybill: WB2303 kafka: no confirmation in time: %w. Try: look whether the partitions have leaders and enough replicas in sync", cause)
}

func errCreate(topic string, refused error, text string) error {
	err := fmt.Errorf("waybill: WB2304 kafka: create topic %q: %w %s. Try: make it by hand and leave out Create", topic, refused, text)
	if kerr.IsRetriable(refused) {
		return err
	}
	return relay.Topic(err)
}

func errRefused(p *partition, err error, text string) error {
	if text != "" {
		err = fmt.Errorf("%w (%s)", err, text)
	}
	return fmt.Errorf("waybill: WB2305 kafka: partition %d of topic %q does not store: %w. Try: look at `kafka-topics.sh --describe --topic %s`", p.number, p.topic.name, err, p.topic.name)
}

func errNoLeader(p *partition) error {
	return fmt.Errorf("waybill: WB2306 kafka: partition %d of topic %q has no leader at the moment. Try: wait, or look at `kafka-topics.sh --describe --topic %s`", p.number, p.topic.name, p.topic.name)
}

func errAsking(topic string, err error) error {
	return fmt.Errorf("waybill: WB2306 kafka: topic %q is not ready: %w. Try: wait, or look at `kafka-topics.sh --describe --topic %s`", topic, err, topic)
}

func errBehind(e entry) error {
	return fmt.Errorf("waybill: WB2307 kafka: message %s waits behind one of its key that was not stored. Try: nothing, it is sent again", e.id)
}

func errFenced(err error) error {
	return fmt.Errorf("waybill: WB2309 kafka: another owner has taken the transactional id: %w: %w", relay.ErrLost, err)
}

func errTransaction(step string, err error) error {
	return fmt.Errorf("waybill: WB2310 kafka: %s the transaction: %w. Try: look whether the transaction coordinator is up and this user may use the transactional id", step, err)
}

// The topic's: other topics are fine.

func errFewer(topic string, have, want int) error {
	return relay.Topic(fmt.Errorf("waybill: WB2308 kafka: topic %q has %d partitions and Partitions asks for %d. Try: the number it has", topic, have, want))
}

func errNoTopic(topic string) error {
	return relay.Topic(fmt.Errorf("waybill: WB2311 kafka: there is no topic %q. Try: create it", topic))
}

func errForbidden(topic string, err error) error {
	return relay.Topic(fmt.Errorf("waybill: WB2312 kafka: this user may not write to topic %q: %w. Try: allow Write and Describe", topic, err))
}

func errBadTopic(topic string) error {
	return relay.Topic(fmt.Errorf("waybill: WB2313 kafka: %q cannot be a topic. Try: letters, digits, '.', '_' and '-', at most 249", topic))
}

// The message's own: it can never be stored as it is.

func errRejected(p *partition, e entry, err error, text string) error {
	if text != "" {
		err = fmt.Errorf("%w (%s)", err, text)
	}
	return relay.Rejected(fmt.Errorf("waybill: WB2321 kafka: topic %q refuses message %s of %d bytes: %w. Try: another message, or the topic's max.message.bytes, message.timestamp and cleanup.policy settings", p.topic.name, e.id, len(e.record), err))
}

func errHeader(m *relay.Message, name string) error {
	return relay.Rejected(fmt.Errorf("waybill: WB2322 kafka: message %s: header %.80q is one that the sink sets itself. Try: another name", m.ID, name))
}

func errTooLarge(m *relay.Message, size, most int) error {
	return relay.Rejected(fmt.Errorf("waybill: WB2323 kafka: message %s has %d bytes with key and headers, more than the %d of MaxBatchBytes. Try: a smaller payload, or a larger MaxBatchBytes and max.message.bytes of the topic", m.ID, size, most))
}
