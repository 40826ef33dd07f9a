package jetstream

import (
	"encoding/json"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/cloudevents"
	"github.com/waybillhq/waybill/relay"
)

// maxSubject keeps a subject within the server's control line (4,096 bytes unless configured): a longer line costs the
// connection.
const maxSubject = 1024

// encoder writes one message after another into the same msg.
type encoder struct {
	source string
	msg    nats.Msg
	values []string
}

// encode leaves nothing to the server that would cost the connection or do more than store the message.
// Header names are set as they are: nats.Header is case-sensitive, and traceparent must stay in lower case.
func (e *encoder) encode(m *relay.Message) error {
	if fault := subjectFault(m.Topic); fault != "" {
		return errSubject(m, fault)
	}
	h := e.msg.Header
	clear(h)
	e.values = e.values[:0]
	e.set(nats.MsgIdHdr, m.ID)
	for name, value := range cloudevents.Attributes(m, e.source) {
		e.set("ce-"+name, cloudevents.Encode(value))
	}
	if m.Payload == nil {
		e.set("waybill-tombstone", "1")
	}
	for _, header := range m.Headers {
		if fault := headerFault(header.Name, header.Value, len(m.Payload)); fault != "" {
			return errHeader(m, header.Name, fault)
		}
		if _, taken := h[header.Name]; taken {
			return errHeader(m, header.Name, "is there already")
		}
		e.set(header.Name, header.Value)
	}
	e.msg.Subject, e.msg.Data = m.Topic, m.Payload
	return nil
}

func (e *encoder) set(name, value string) {
	n := len(e.values)
	e.values = append(e.values, value)
	e.msg.Header[name] = e.values[n : n+1 : n+1]
}

func subjectFault(subject string) string {
	switch {
	case len(subject) > maxSubject:
		return "is longer than 1,024 bytes"
	case strings.HasPrefix(subject, "$"):
		return "begins with '$', which NATS keeps for itself"
	}
	for i := range len(subject) {
		if subject[i] <= ' ' || subject[i] == 0x7f {
			return "holds a space or control byte"
		}
	}
	for token := range strings.SplitSeq(subject, ".") {
		switch token {
		case "":
			return "has an empty token"
		case "*", ">":
			return "holds a wildcard"
		}
	}
	return ""
}

func headerFault(name, value string, payload int) string {
	switch {
	case len(name) >= 5 && strings.EqualFold(name[:5], "nats-"):
		return "is an instruction to the server" // Nats-Rollup removes what the stream holds
	case name == "Status" && payload == 0:
		return "makes a message without a body look like a reply of the server"
	case strings.ContainsAny(value, "\r\n\x00"):
		return "has a line break in its value"
	}
	return ""
}

// acknowledged reads a reply: stored, or why not, or neither when it is not a stream's.
func acknowledged(data []byte, topic string) (stored bool, err error) {
	var ack struct {
		Stream string              `json:"stream"`
		Error  *jetstream.APIError `json:"error"`
	}
	if json.Unmarshal(data, &ack) != nil {
		return false, nil
	}
	if ack.Error != nil {
		return false, errRefused(topic, ack.Stream, ack.Error)
	}
	return ack.Stream != "", nil
}
