package rabbitmq

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybillhq/waybill/relay"
)

var errClosed = errors.New("waybill: WB2005 rabbitmq: the sink is closed. Try: make a new one")

// Temporary: the whole connection, or an outcome that is not known.

func errConnect(to server, err error) error {
	return fmt.Errorf("waybill: WB2401 rabbitmq: no connection to %s, virtual host %q: %w. Try: check the address, user, password, virtual host and certificates, and that the server runs", to.address, to.uri.Vhost, said(err))
}

func errLost(err error) error {
	if err == nil {
		err = amqp.ErrClosed
	}
	return fmt.Errorf("waybill: WB2402 rabbitmq: the connection broke before the confirmation: %w. Try: nothing, the message is sent again", said(err))
}

func errUnconfirmed(cause error) error {
	return fmt.Errorf("waybill: WB2403 rabbitmq: no confirmation in time: %w. Try: look whether the queue has a leader and a majority of its members", cause)
}

func errBlocked(reason string) error {
	return fmt.Errorf("waybill: WB2404 rabbitmq: blocked: %s. Try: free memory or disk of the server; nothing is lost meanwhile", reason)
}

func errNack(topic string) error {
	return fmt.Errorf("waybill: WB2405 rabbitmq: a queue of topic %q refuses the message. Try: look whether it is full, or has lost its leader; the message is sent again", topic)
}

func errNoLeader(topic string) error {
	return fmt.Errorf("waybill: WB2408 rabbitmq: the queue of topic %q takes nothing at the moment. Try: wait, or look whether it has a leader; the message is sent again", topic)
}

func errCreated(topic string) error {
	return fmt.Errorf("waybill: WB2406 rabbitmq: topic %q had no queue, one was made. Try: nothing, the message is sent again", topic)
}

// errCreate is the topic's when the server says no.
func errCreate(topic string, err error) error {
	return fmt.Errorf("waybill: WB2407 rabbitmq: make a queue for topic %q: %w. Try: make it by hand and leave out Create", topic, said(err))
}

// The topic's: other topics are fine.

func errUnroutable(exchange, topic string) error {
	return relay.Topic(fmt.Errorf("waybill: WB2411 rabbitmq: no queue is bound to exchange %q for topic %q. Try: make a queue, or bind one, for that routing key", exchange, topic))
}

func errExchange(exchange string, e *amqp.Error) error {
	return relay.Topic(fmt.Errorf("waybill: WB2412 rabbitmq: exchange %q does not exist: %w. Try: make it, or correct Exchange", exchange, said(e)))
}

func errForbidden(topic string, e *amqp.Error) error {
	return relay.Topic(fmt.Errorf("waybill: WB2413 rabbitmq: this user may not publish topic %q: %w. Try: give it write permission", topic, said(e)))
}

// The message's own: it can never be stored as it is.

func errShort(m *relay.Message, what string) error {
	return relay.Rejected(fmt.Errorf("waybill: WB2421 rabbitmq: message %.80s: its %s is longer than 255 bytes. Try: a shorter one", m.ID, what))
}

func errHeader(m *relay.Message, name, fault string) error {
	return relay.Rejected(fmt.Errorf("waybill: WB2422 rabbitmq: message %.80s: header %.80q %s. Try: another name", m.ID, name, fault))
}

func errHeaders(m *relay.Message, size, limit int) error {
	return relay.Rejected(fmt.Errorf("waybill: WB2423 rabbitmq: message %.80s: its properties and headers take %d bytes, and a frame holds %d. Try: fewer headers, or a larger frame_max of the server", m.ID, size, limit))
}

func errTooLarge(id string, size int, limit int64) error {
	return relay.Rejected(fmt.Errorf("waybill: WB2424 rabbitmq: message %.80s: its payload of %d bytes exceeds the limit of %d. Try: a smaller payload, or a larger max_message_size of the server and MaxMessageBytes", id, size, limit))
}

// whyClosed tells what the end of its channel means for a message. The server names what it was about in words only.
func (l *link) whyClosed(e *amqp.Error, f *flight) error {
	if e == nil {
		return errLost(nil)
	}
	if !e.Server {
		return errLost(e)
	}
	switch e.Code {
	case amqp.NotFound:
		return errExchange(l.config.Exchange, e)
	case amqp.AccessRefused:
		if topic := aboutTopic.FindStringSubmatch(e.Reason); topic == nil || topic[1] == f.topic {
			return errForbidden(f.topic, e)
		}
	case amqp.PreconditionFailed:
		if limit := aboutSize.FindStringSubmatch(e.Reason); limit != nil {
			if n, err := strconv.ParseInt(limit[1], 10, 64); err == nil {
				l.maxBody.Store(min(n, l.maxBody.Load()))
				if size := f.call.sizes[f.index]; int64(size) > n {
					return errTooLarge(f.id, size, n)
				}
			}
		}
	}
	return errLost(e)
}

var (
	aboutTopic = regexp.MustCompile(`access to topic '(.*)' in exchange`)
	aboutSize  = regexp.MustCompile(`larger than configured max size (\d+)`)
)

// said is the server's own words without the client's frame around them.
func said(err error) error {
	e := (*amqp.Error)(nil)
	switch {
	case !errors.As(err, &e) || e.Reason == "":
		return err
	case e.Server:
		return fmt.Errorf("%s (%d)", e.Reason, e.Code)
	}
	return errors.New(e.Reason)
}
