package relay

import (
	"fmt"

	"github.com/waybillhq/waybill"
)

// StoredHeaders decodes the headers column. A text that is none (somebody wrote the row by hand) becomes one header
// without a name: the message goes its way through the log like any other and is rejected before it is sent.
func StoredHeaders(stored string) []waybill.Header {
	headers, err := waybill.DecodeHeaders(stored)
	if err != nil {
		return []waybill.Header{{Value: stored}}
	}
	return headers
}

// sendable is the last net for rows that did not come through Publish: what no broker could carry is not given to the sink.
func sendable(m *Message) error {
	if m.Topic == "" || m.ID == "" || m.Type == "" {
		return fmt.Errorf("waybill: WB2003 the row with pos %d has no topic, id or type. Try: correct or discard it, see docs/operations.md", m.Pos)
	}
	for _, h := range m.Headers {
		if h.Name == "" {
			return fmt.Errorf("waybill: WB2004 the headers of message %q (pos %d) are not a JSON array of pairs with names. Try: correct or discard it, see docs/operations.md", m.ID, m.Pos)
		}
	}
	return nil
}
