package waybill

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Validate returns what Publish would find wrong with msgs, without a transaction.
func (o *Outbox) Validate(msgs ...Message) error {
	var faults []error
	total := 0
	for i := range msgs {
		c := checker{limits: o.cfg.Limits, topics: o.cfg.Topics, index: i}
		c.message(&msgs[i])
		if total += len(msgs[i].Payload); total > maxTotal {
			c.fault("Payload", "", ErrTooLarge, "publish the rest by another call in the same transaction", "the payloads of one call come to %d bytes, at most %d", total, maxTotal)
			total = 0
		}
		faults = append(faults, c.faults...)
		if rest := len(msgs) - i - 1; len(faults) >= maxFaults && rest > 0 {
			faults = append(faults, fmt.Errorf("waybill: %d further messages were not checked", rest))
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
		c.fault("Payload", "", ErrTooLarge, "store the body elsewhere and publish where it is, or raise Limits.Payload if your broker takes more",
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
