package sqlstore

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/waybillhq/waybill"
)

// Time scans a timestamp, or microseconds since the Unix epoch, into t as UTC; NULL is the zero time.
func Time(t *time.Time) sql.Scanner { return scanner(func(src any) error { return scanTime(t, src) }) }

// Headers scans a JSON array of pairs of texts into h; NULL and the empty text are none.
func Headers(h *[]waybill.Header) sql.Scanner {
	return scanner(func(src any) error { return scanHeaders(h, src) })
}

// Payload scans bytes or text into p; NULL is nil, and empty is not.
func Payload(p *[]byte) sql.Scanner {
	return scanner(func(src any) error { return scanPayload(p, src) })
}

type scanner func(src any) error

// Scan implements sql.Scanner.
func (f scanner) Scan(src any) error { return f(src) }

func scanTime(t *time.Time, src any) error {
	switch v := src.(type) {
	case nil:
		*t = time.Time{}
	case time.Time:
		*t = v.UTC()
	case int64:
		*t = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("a time is neither a timestamp nor an integer of microseconds but a %T", src)
	}
	return nil
}

func scanPayload(p *[]byte, src any) error {
	switch v := src.(type) {
	case nil:
		*p = nil
	case []byte:
		*p = append(make([]byte, 0, len(v)), v...) // the driver may use v again
	case string:
		*p = []byte(v)
	default:
		return fmt.Errorf("a payload is neither bytes nor text but a %T", src)
	}
	return nil
}

func scanHeaders(h *[]waybill.Header, src any) error {
	var text []byte
	if err := scanPayload(&text, src); err != nil {
		return err
	}
	*h = nil
	if len(text) == 0 {
		return nil
	}
	var pairs [][]string
	if err := json.Unmarshal(text, &pairs); err != nil {
		return fmt.Errorf("headers are not a JSON array of pairs of texts: %.100q", text)
	}
	for _, pair := range pairs {
		if len(pair) != 2 {
			return fmt.Errorf("headers are not a JSON array of pairs of texts: %.100q", text)
		}
		*h = append(*h, waybill.Header{Name: pair[0], Value: pair[1]})
	}
	return nil
}

// encodeHeaders is the reverse of Headers.
func encodeHeaders(headers []waybill.Header) (any, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	pairs := make([][2]string, len(headers))
	for i, h := range headers {
		pairs[i] = [2]string{h.Name, h.Value}
	}
	text, err := json.Marshal(pairs)
	return string(text), err
}
