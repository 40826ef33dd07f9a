package rabbitmq

import (
	"errors"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybillhq/waybill/relay"
)

// whyReturned finds out what to tell a message that no queue took; many of a topic that ask at once are one question.
func (l *link) whyReturned(topic string) error {
	ask, _ := l.asking.LoadOrStore(topic, sync.OnceValue(func() error { return l.ask(topic) }))
	err := ask.(func() error)()
	l.asking.Delete(topic)
	return err
}

func (l *link) ask(topic string) error {
	if l.config.Exchange == "" {
		missing, err := l.missing(topic)
		if err != nil {
			return errLost(err)
		}
		if !missing {
			return errNoLeader(topic)
		}
	}
	if !l.config.Create {
		return errUnroutable(l.config.Exchange, topic)
	}
	l.young.Store(topic, time.Now().Add(time.Hour)) // what is under way may meet the queue before we know of it
	err := l.create(topic)
	if err == nil {
		l.young.Store(topic, time.Now().Add(ripe))
		return errCreated(topic)
	}
	l.young.Delete(topic)
	if e := (*amqp.Error)(nil); errors.As(err, &e) && e.Server && e.Recover {
		return relay.Topic(errCreate(topic, err))
	}
	return errCreate(topic, err)
}

// ripe is when a quorum queue survives a killed server, which saves its register of them twice a second and forgets a younger
// one with all in it.
const ripe = time.Second

// ripening is the error of what may be in a queue that is too young to keep it, nil for all others.
func (l *link) ripening(topic string) error {
	until, found := l.young.Load(topic)
	if !found {
		return nil
	}
	if time.Now().Before(until.(time.Time)) {
		return errCreated(topic)
	}
	l.young.CompareAndDelete(topic, until)
	return nil
}

// missing tells a queue that does not exist from one that has no leader at the moment, which takes nothing either.
func (l *link) missing(queue string) (bool, error) {
	ch, err := l.conn.Channel()
	if err != nil {
		return false, err
	}
	_, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if e := (*amqp.Error)(nil); errors.As(err, &e) && e.Server && e.Recover {
		return e.Code == amqp.AccessRefused || strings.Contains(e.Reason, "no queue '"), nil // who may not ask cannot tell
	}
	if err != nil {
		return false, err
	}
	return false, ch.Close()
}

func (l *link) create(topic string) error {
	ch, err := l.conn.Channel()
	if err != nil {
		return err
	}
	_, err = ch.QueueDeclare(topic, true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	if e := (*amqp.Error)(nil); errors.As(err, &e) && e.Code == amqp.PreconditionFailed {
		ch, err = l.conn.Channel() // it exists, made otherwise; saying so has closed the channel
	}
	if err == nil && l.config.Exchange != "" {
		err = ch.QueueBind(topic, topic, l.config.Exchange, false, nil)
	}
	if err != nil {
		return err
	}
	return ch.Close()
}
