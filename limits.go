package waybill

import (
	"errors"
	"fmt"
	"strings"
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
	maxTotal      = 256 << 20 // payloads travel in one parameter, and PostgreSQL allocates at most 1 GB
	maxFaults     = 20        // returned together
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
