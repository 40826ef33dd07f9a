// Package cloudevents gives a message its CloudEvents 1.0 attributes, the same for every broker. The sink adds the prefix
// of its protocol's binary mode (ce-, ce_, cloudEvents_) and writes each as a header beside the untouched payload.
package cloudevents

import (
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/waybillhq/waybill/relay"
)

// DefaultSource is the source attribute of a sink that was given none.
const DefaultSource = "/waybill/default"

// Attributes yields m's attributes as name and value, always in the same order: id, source, type, specversion, time,
// datacontenttype, sequence, partitionkey. What m does not have is left out. The values are as they are: encode them with
// [Encode] where the protocol asks for it.
func Attributes(m *relay.Message, source string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		_ = yield("id", m.ID) &&
			yield("source", source) &&
			yield("type", m.Type) &&
			yield("specversion", "1.0") &&
			(m.Time.IsZero() || yield("time", m.Time.UTC().Format(time.RFC3339Nano))) &&
			(m.ContentType == "" || yield("datacontenttype", m.ContentType)) &&
			yield("sequence", Sequence(m)) &&
			(m.Key == "" || yield("partitionkey", m.Key))
	}
}

// Sequence is the sequence attribute: the incarnation of the log in 13 digits, '-', and the position in 19. Of two messages
// of one source and key the one that sorts lower was committed earlier; gaps mean nothing.
func Sequence(m *relay.Message) string {
	var text [13 + 1 + 19]byte // enough for both, so that a message costs one allocation
	return string(padded(append(padded(text[:0], m.Incarnation, 13), '-'), m.Pos, 19))
}

func padded(b []byte, n int64, width int) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	for range width - len(text) {
		b = append(b, '0')
	}
	return append(b, text...)
}

// Encode percent-encodes what the HTTP and NATS bindings want encoded in a header value: space, double quote, percent,
// and everything that is not printable ASCII.
//
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#3132-http-header-values
func Encode(value string) string {
	n := 0
	for i := range len(value) {
		if encoded(value[i]) {
			n++
		}
	}
	if n == 0 {
		return value
	}
	var b strings.Builder
	b.Grow(len(value) + 2*n)
	for i := range len(value) {
		if c := value[i]; encoded(c) {
			const hex = "0123456789ABCDEF"
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func encoded(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }
