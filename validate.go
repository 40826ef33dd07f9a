package waybill

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits bound a message, in bytes where they do not say otherwise. The defaults are what every broker accepts as it
// comes out of its box.
type Limits struct {
	// Payload defaults to 921,600 (900 KiB): NATS takes 1 MiB with its headers, Kafka about 1 MB a batch.
	Payload int
	// Headers is their number. Defaults to 64.
	Headers int
	// HeaderBytes bounds all names and values together. Defaults to 16,384: a RabbitMQ connection dies of headers beyond a frame.
	HeaderBytes int
	// Key defaults to 1,024.
	Key int
	// Topic defaults to 249, Kafka's limit. RabbitMQ takes 255.
	Topic int
	// TopicCharacters are ASCII characters that a topic may have besides letters, digits and ._- such as "/" for MQTT.
	// Kafka refuses every other one. Defaults to none; space and * > # + are never allowed, as brokers read them as patterns.
	TopicCharacters string
}

// The limits that no configuration moves: what protocols allow.
const (
	maxID         = 128 // Service Bus
	maxType       = 255
	maxHeaderName = 255
	maxFaults     = 20 // returned together
)

func (l Limits) withDefaults() (Limits, error) {
	var faults []error
	for _, f := range []struct {
		name  string
		field *int
		def   int
	}{{"Payload", &l.Payload, 900 << 10}, {"Headers", &l.Headers, 64}, {"HeaderBytes", &l.HeaderBytes, 16 << 10}, {"Key", &l.Key, 1 << 10}, {"Topic", &l.Topic, 249}} {
		if *f.field < 0 {
			faults = append(faults, fmt.Errorf("waybill: WB4002 Limits.%s is %d: it must not be negative. Try: 0 for the default, %d", f.name, *f.field, f.def))
		}
		if *f.field == 0 {
			*f.field = f.def
		}
	}
	if i := strings.IndexFunc(l.TopicCharacters, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("*>#+", r) }); i >= 0 {
		faults = append(faults, fmt.Errorf("waybill: WB4002 Limits.TopicCharacters %q: only printable ASCII without space and * > # + is allowed. Try: \"/\"", l.TopicCharacters))
	}
	return l, errors.Join(faults...)
}

// Validate returns what Publish would find wrong with msgs, without a transaction.
func (o *Outbox) Validate(msgs ...Message) error {
	var faults []error
	for i := range msgs {
		c := checker{limits: o.cfg.Limits, topics: o.cfg.Topics, index: i}
		c.message(&msgs[i])
		faults = append(faults, c.faults...)
		if len(faults) >= maxFaults {
			break
		}
	}
	return errors.Join(faults...)
}

type checker struct {
	limits Limits
	topics []string
	index  int
	faults []error
}

func (c *checker) fault(field, value string, err error, try, rule string, args ...any) {
	c.faults = append(c.faults, &FieldError{Index: c.index, Field: field, Value: shorten(value), Rule: fmt.Sprintf(rule, args...), Try: try, Err: err})
}

func (c *checker) message(m *Message) {
	c.topic(m.Topic)
	if m.Type == "" {
		c.fault("Type", "", ErrRequired, `name what happened, such as "order.created"`, "a message has a type")
	}
	c.text("Type", m.Type, maxType, "shorten it")
	c.text("Key", m.Key, c.limits.Key, "use a shorter key, such as a hash of it")
	c.ascii("ID", m.ID, maxID, '!', "leave it empty for a new UUID")
	c.ascii("ContentType", m.ContentType, maxType, ' ', `write a media type, such as "application/json"`)
	if n := len(m.Payload); n > c.limits.Payload {
		c.fault("Payload", string(m.Payload[:min(n, 40)]), ErrTooLarge, "store the body elsewhere and publish where it is, or raise Limits.Payload if your broker takes more",
			"%d bytes, at most %d", n, c.limits.Payload)
	}
	c.headers(m.Headers)
	if year := m.Time.UTC().Year(); !m.Time.IsZero() && (year < 1 || year > 9999) {
		c.fault("Time", m.Time.String(), ErrTime, "leave it zero for the moment of Publish", "the year in UTC is %d", year)
	}
	if !m.DeliverAt.IsZero() {
		c.fault("DeliverAt", m.DeliverAt.String(), ErrScheduled, "leave it zero and publish when the message is due", "scheduled messages do not exist yet")
	}
}

func (c *checker) topic(topic string) {
	switch i := strings.IndexFunc(topic, func(r rune) bool { return !plain(r) && !strings.ContainsRune(c.limits.TopicCharacters, r) }); {
	case topic == "":
		c.fault("Topic", topic, ErrRequired, "name the destination at the broker", "a message has a topic")
	case len(topic) > c.limits.Topic:
		c.fault("Topic", topic, ErrTooLarge, "shorten it", "%d bytes, at most %d", len(topic), c.limits.Topic)
	case i >= 0:
		c.fault("Topic", topic, ErrCharacters, "use letters, digits and ._- or allow more by Limits.TopicCharacters", "byte %d is %q, which some broker refuses", i, firstRune(topic[i:]))
	case topic[0] == '.' || topic[len(topic)-1] == '.' || strings.Contains(topic, ".."):
		c.fault("Topic", topic, ErrCharacters, "put a name between the dots", "a part between dots is empty, which NATS refuses")
	case len(c.topics) > 0 && !slices.Contains(c.topics, topic):
		c.fault("Topic", topic, ErrTopicUnknown, "correct it, or add it to Config.Topics", "known are %s", shorten(strings.Join(c.topics, ", ")))
	}
}

func plain(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-'
}

func (c *checker) text(field, s string, limit int, try string) {
	if len(s) > limit {
		c.fault(field, s, ErrTooLarge, try, "%d bytes, at most %d", len(s), limit)
	}
	if rule := textRule(s); rule != "" {
		c.fault(field, s, ErrCharacters, "use printable text, or encode it, for example in base64", "%s", rule)
	}
}

func (c *checker) ascii(field, s string, limit int, first rune, try string) {
	if len(s) > limit {
		c.fault(field, s, ErrTooLarge, try, "%d bytes, at most %d", len(s), limit)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < first || r > '~' }); i >= 0 {
		c.fault(field, s, ErrCharacters, try, "byte %d is %q, only printable ASCII is allowed", i, firstRune(s[i:]))
	}
}

// textRule allows what CloudEvents calls a String: valid UTF-8 without control characters.
func textRule(s string) string {
	if !utf8.ValidString(s) {
		return "it is not valid UTF-8"
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		return fmt.Sprintf("byte %d is the control character %U", i, firstRune(s[i:]))
	}
	return ""
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

func (c *checker) headers(headers []Header) {
	if len(headers) > c.limits.Headers {
		c.fault("Headers", "", ErrTooLarge, "move data into the payload, or raise Limits.Headers", "%d headers, at most %d", len(headers), c.limits.Headers)
	}
	total := 0
	for i, h := range headers {
		total += len(h.Name) + len(h.Value)
		if err, try, rule := nameFault(headers[:i], h.Name); err != nil {
			c.fault(headerField(h.Name), h.Name, err, try, "%s", rule)
		}
		if rule := textRule(h.Value); rule != "" {
			c.fault(headerField(h.Name), h.Value, ErrCharacters, "encode the value, for example in base64", "%s", rule)
		}
	}
	if total > c.limits.HeaderBytes {
		c.fault("Headers", "", ErrTooLarge, "move data into the payload, or raise Limits.HeaderBytes", "%d bytes of names and values, at most %d", total, c.limits.HeaderBytes)
	}
}

func headerField(name string) string { return fmt.Sprintf("Headers[%q]", shorten(name)) }

func nameFault(earlier []Header, name string) (err error, try, rule string) {
	i := strings.IndexFunc(name, func(r rune) bool { return !token(r) })
	switch {
	case name == "":
		return ErrRequired, "name the header", "a header has a name"
	case len(name) > maxHeaderName:
		return ErrTooLarge, "shorten it", fmt.Sprintf("the name has %d bytes, at most %d", len(name), maxHeaderName)
	case i >= 0:
		return ErrCharacters, "use letters, digits and -", fmt.Sprintf("byte %d of the name is %q, which HTTP and AMQP refuse", i, firstRune(name[i:]))
	case reserved(strings.ToLower(name)):
		return ErrReserved, "choose another name, such as one with \"x-\" before it", "a broker, a protocol or Waybill sets it"
	case slices.ContainsFunc(earlier, func(h Header) bool { return strings.EqualFold(h.Name, name) }):
		return ErrDuplicate, "join the values, or number the names", "names are unique in any case of letters, as some brokers merge them"
	}
	return nil, "", ""
}

// token is the character set of header names in HTTP (RFC 9110, 5.6.2), the narrowest of all.
func token(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// reserved takes a name in lower case. traceparent and tracestate are free: a stored trace context crosses unchanged.
func reserved(name string) bool {
	for _, prefix := range []string{"waybill-", "nats-", "ce-", "ce_", "cloudevents_", "cloudevents-", "x-first-death-", "x-last-death-", "proxy-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "x-death", "cc", "bcc", "content-type", "content-length", "content-encoding", "transfer-encoding", "host", "connection", "keep-alive",
		"te", "trailer", "upgrade", "expect", "authorization", "cookie", "set-cookie":
		return true
	}
	return false
}
