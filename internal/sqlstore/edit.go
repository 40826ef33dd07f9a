package sqlstore

import (
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/waybillhq/waybill"
)

// edit is what a person wants to change of a message. Absent members stay.
type edit struct {
	Topic       *string          `json:"topic,omitempty"`
	Type        *string          `json:"type,omitempty"`
	ContentType *string          `json:"content_type,omitempty"`
	Headers     *string          `json:"headers,omitempty"` // as they are stored; empty is none
	Payload     *json.RawMessage `json:"payload,omitempty"` // hexadecimal, or null for a tombstone
}

// Edited returns how Ask takes the difference between a message and what shall become of it; empty when there is none.
// Key and ID do not count: no edit changes them.
func Edited(from, to waybill.Message) string {
	var e edit
	for _, f := range []struct {
		to       **string
		old, new string
	}{{&e.Topic, from.Topic, to.Topic}, {&e.Type, from.Type, to.Type}, {&e.ContentType, from.ContentType, to.ContentType}} {
		if f.old != f.new {
			*f.to = &f.new
		}
	}
	if !slices.Equal(from.Headers, to.Headers) {
		text := waybill.EncodeHeaders(to.Headers)
		e.Headers = &text
	}
	if string(from.Payload) != string(to.Payload) || (from.Payload == nil) != (to.Payload == nil) {
		text := json.RawMessage("null")
		if to.Payload != nil {
			text = json.RawMessage(`"` + hex.EncodeToString(to.Payload) + `"`)
		}
		e.Payload = &text
	}
	if e == (edit{}) {
		return ""
	}
	text, _ := json.Marshal(e) // texts always encode
	return string(text)
}

// Apply returns m as an edit that [Edited] wrote makes it.
func Apply(m waybill.Message, text string) (waybill.Message, error) {
	var e struct {
		edit
		Payload json.RawMessage `json:"payload"`
	}
	if text == "" {
		return m, nil
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return m, err
	}
	for _, f := range []struct{ to, from *string }{{&m.Topic, e.Topic}, {&m.Type, e.Type}, {&m.ContentType, e.ContentType}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	var err error
	if e.Headers != nil {
		if m.Headers, err = waybill.DecodeHeaders(*e.Headers); err != nil {
			return m, err
		}
	}
	if e.Payload != nil {
		var body *string
		if err = json.Unmarshal(e.Payload, &body); err == nil {
			if m.Payload = nil; body != nil {
				m.Payload, err = hex.DecodeString(*body)
			}
		}
	}
	return m, err
}
