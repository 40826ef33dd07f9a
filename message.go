package waybill

import "time"

// Message is what a service tells others. It is written into the outbox inside the caller's transaction and reaches
// the broker exactly when that transaction commits.
type Message struct {
	// ID names the message for good: every copy of it carries the same ID. At most 128 printable ASCII characters, no space.
	// Defaults to a new UUIDv7, made by Publish.
	ID string
	// Topic is the destination name at the broker. Required. Letters, digits and ._- with a name between dots, at most
	// 249 bytes; see Limits.
	Topic string
	// Key is the ordering key: messages of one key reach the broker in commit order. Empty means no order. At most 1 KiB
	// of text without control characters.
	Key string
	// Type is the CloudEvents type, such as "order.created". Required. At most 255 bytes of text without control characters.
	Type string
	// Payload is the body, at most 900 KiB. nil is a tombstone (no body at all), which is not the same as an empty body.
	Payload []byte
	// ContentType describes Payload, such as "application/json". Defaults to "application/octet-stream" where a broker needs one.
	ContentType string
	// Headers are carried in order; names are unique in any case of letters. At most 64 and 16 KiB. Names that a broker, a
	// protocol or Waybill sets (such as ce-id, Nats-Msg-Id, x-death, content-type) are refused; traceparent is not.
	Headers []Header
	// Time is when the thing happened, kept to the microsecond, in the years 1 to 9999. Defaults to the moment of Publish
	// by the database's clock.
	Time time.Time
	// DeliverAt asks for delivery later. Refused until scheduled messages exist.
	DeliverAt time.Time
}

// Header is one name with one text value.
type Header struct{ Name, Value string }
