package sqlstore

import (
	"fmt"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
)

// columnTime scans a timestamp, or microseconds since the Unix epoch, as UTC. Anything else, and a year that no broker's
// form has, is the zero time: only a row written by hand has such a thing, and it must not stop the log.
type columnTime struct{ to *time.Time }

func (c columnTime) Scan(src any) error {
	*c.to = time.Time{}
	var t time.Time
	switch v := src.(type) {
	case time.Time:
		t = v.UTC()
	case int64:
		t = time.UnixMicro(v).UTC()
	}
	if year := t.Year(); year >= 1 && year <= 9999 {
		*c.to = t
	}
	return nil
}

// columnHeaders scans a JSON array of pairs of texts.
type columnHeaders struct{ to *[]waybill.Header }

func (c columnHeaders) Scan(src any) error {
	*c.to = nil
	switch v := src.(type) {
	case string:
		*c.to = relay.StoredHeaders(v)
	case []byte:
		*c.to = relay.StoredHeaders(string(v))
	}
	return nil
}

// columnPayload scans bytes or text. NULL is nil, and empty is not.
type columnPayload struct{ to *[]byte }

func (c columnPayload) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*c.to = nil
	case []byte:
		*c.to = append(make([]byte, 0, len(v)), v...) // the driver may use v again
	case string:
		*c.to = []byte(v)
	default:
		return fmt.Errorf("a payload is neither bytes nor text but a %T", src)
	}
	return nil
}

// storedHeaders is the reverse of columnHeaders; none are NULL.
func storedHeaders(headers []waybill.Header) any {
	if len(headers) == 0 {
		return nil
	}
	return waybill.EncodeHeaders(headers)
}
