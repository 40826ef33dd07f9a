package rabbitmq

import (
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybillhq/waybill/cloudevents"
	"github.com/waybillhq/waybill/relay"
)

// maxShort is the longest of AMQP's short strings: routing key, type, message id, header name.
const maxShort = 255

// encode leaves nothing to the server that would cost the channel or the connection.
func (l *link) encode(m *relay.Message) (amqp.Publishing, error) {
	p := amqp.Publishing{
		Headers: make(amqp.Table, len(m.Headers)+8), ContentType: m.ContentType, DeliveryMode: amqp.Persistent,
		MessageId: m.ID, Type: m.Type, AppId: l.config.Source, Body: m.Payload,
	}
	if m.Time.Unix() >= 0 { // the property is an unsigned number of seconds
		p.Timestamp = m.Time
	}
	for name, value := range cloudevents.Attributes(m, l.config.Source) {
		if name != "datacontenttype" {
			p.Headers["cloudEvents_"+name] = value
		}
	}
	if m.Payload == nil {
		p.Headers["waybill-tombstone"] = "1"
	}
	for _, h := range m.Headers {
		if fault := headerFault(h.Name); fault != "" {
			return p, errHeader(m, h.Name, fault)
		}
		if _, taken := p.Headers[h.Name]; taken {
			return p, errHeader(m, h.Name, "is there already")
		}
		p.Headers[h.Name] = h.Value
	}
	for _, short := range []struct{ what, text string }{{"topic", m.Topic}, {"id", m.ID}, {"type", m.Type}, {"content type", m.ContentType}} {
		if len(short.text) > maxShort {
			return p, errShort(m, short.what)
		}
	}
	if n := headerFrame(&p); l.frame > 0 && n > l.frame {
		return p, errHeaders(m, n, l.frame)
	}
	if limit := l.maxBody.Load(); int64(len(m.Payload)) > limit {
		return p, errTooLarge(m.ID, len(m.Payload), limit)
	}
	return p, nil
}

func headerFault(name string) string {
	switch {
	case name == "" || len(name) > maxShort:
		return "has a name that is empty or longer than 255 bytes"
	case strings.EqualFold(name, "CC") || strings.EqualFold(name, "BCC"):
		return "tells the server to route to more queues"
	}
	return ""
}

// headerFrame is the size of the frame that carries all properties; one that the server cannot take ends the connection.
//
// https://www.rabbitmq.com/docs/specification, section 4.2.6.1 of AMQP 0-9-1
func headerFrame(p *amqp.Publishing) int {
	const fixed = 2 + 2 + 8 + 2 // class, weight, body size, flags
	const deliveryMode, timestamp, table = 1, 8, 4
	n := fixed + deliveryMode + timestamp + table
	for _, short := range []string{p.ContentType, p.MessageId, p.Type, p.AppId} {
		n += 1 + len(short)
	}
	for name, value := range p.Headers {
		text, _ := value.(string) // all are
		n += 1 + len(name) + 1 + 4 + len(text)
	}
	return n
}
