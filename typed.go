package waybill

import (
	"context"
	"encoding/json"
	"fmt"
)

// Typed publishes values of one Go type to one topic.
type Typed[T any] struct {
	Topic string
	Type  string
	// Key returns the ordering key. Defaults to none.
	Key func(T) string
	// Encode returns the body and its content type. Defaults to JSON and "application/json".
	Encode func(T) (payload []byte, contentType string, err error)
}

// Message returns the message for v, for callers who add to it before they publish.
func (t Typed[T]) Message(v T) (Message, error) {
	encode := t.Encode
	if encode == nil {
		encode = encodeJSON[T]
	}
	payload, contentType, err := encode(v)
	if err != nil {
		return Message{}, fmt.Errorf("waybill: WB3003 encode %q: %w", t.Type, err)
	}
	m := Message{Topic: t.Topic, Type: t.Type, Payload: payload, ContentType: contentType}
	if t.Key != nil {
		m.Key = t.Key(v)
	}
	return m, nil
}

// Publish writes one message a value inside tx, like [Outbox.Publish].
func (t Typed[T]) Publish(ctx context.Context, o *Outbox, tx Tx, values ...T) error {
	msgs := make([]Message, len(values))
	for i, v := range values {
		m, err := t.Message(v)
		if err != nil {
			return err
		}
		msgs[i] = m
	}
	return o.Publish(ctx, tx, msgs...)
}

func encodeJSON[T any](v T) ([]byte, string, error) {
	payload, err := json.Marshal(v)
	return payload, "application/json", err
}
