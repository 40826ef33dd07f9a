package waybill

import (
	"fmt"
	"slices"
	"strings"
)

func (c *checker) headers(headers []Header) {
	if len(headers) > c.limits.Headers {
		c.fault("Headers", "", ErrTooLarge, "move data into the payload, or raise Limits.Headers", "%d headers, at most %d", len(headers), c.limits.Headers)
	}
	total := 0
	for i, h := range headers {
		total += len(h.Name) + len(h.Value)
		if rule, try, err := nameFault(headers[:i], h.Name); err != nil {
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

func nameFault(earlier []Header, name string) (rule, try string, err error) {
	i := strings.IndexFunc(name, func(r rune) bool { return !token(r) })
	switch {
	case name == "":
		return "a header has a name", "name the header", ErrRequired
	case len(name) > maxHeaderName:
		return fmt.Sprintf("the name has %d bytes, at most %d", len(name), maxHeaderName), "shorten it", ErrTooLarge
	case i >= 0:
		return fmt.Sprintf("byte %d of the name is %q, which HTTP and AMQP refuse", i, firstRune(name[i:])), "use letters, digits and -", ErrCharacters
	case reserved(strings.ToLower(name)):
		return "a broker, a protocol or Waybill sets it", "choose another name, such as one with \"x-\" before it", ErrReserved
	case slices.ContainsFunc(earlier, func(h Header) bool { return strings.EqualFold(h.Name, name) }):
		return "names are unique in any case of letters, as some brokers merge them", "join the values, or number the names", ErrDuplicate
	}
	return "", "", nil
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
