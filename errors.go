package waybill

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Every error of a message is a [*FieldError] that matches one of these by errors.Is.
var (
	// ErrRequired is returned when Topic or Type is empty.
	ErrRequired = errors.New("is required")
	// ErrTooLarge is returned when a field is longer than Limits allow.
	ErrTooLarge = errors.New("is too large")
	// ErrCharacters is returned when a text holds characters that a database or a broker would refuse or change.
	ErrCharacters = errors.New("holds a character that is not allowed")
	// ErrReserved is returned when a header has a name that Waybill, a broker or a protocol sets itself.
	ErrReserved = errors.New("is a reserved name")
	// ErrDuplicate is returned when two headers have the same name, in any case of letters.
	ErrDuplicate = errors.New("is there twice")
	// ErrTopicUnknown is returned when Config.Topics does not list the topic.
	ErrTopicUnknown = errors.New("is not in Config.Topics")
	// ErrTime is returned when Time lies outside the years 1 to 9999.
	ErrTime = errors.New("is outside the years 1 to 9999")
	// ErrScheduled is returned when DeliverAt is set: scheduled messages do not exist yet.
	ErrScheduled = errors.New("is not supported yet")
)

var (
	// ErrNoTx is returned when Publish is given no transaction.
	ErrNoTx = errors.New("waybill: WB3001 there is no transaction. Try: give Publish the transaction that changes your tables")
	// ErrHeaders is returned when stored headers are not a JSON array of pairs of text.
	ErrHeaders = errors.New("waybill: WB3009 the stored headers are not a JSON array of pairs of text")
)

var codes = map[error]string{
	ErrRequired: "WB3101", ErrTooLarge: "WB3102", ErrCharacters: "WB3103", ErrReserved: "WB3104", ErrDuplicate: "WB3105",
	ErrTopicUnknown: "WB3106", ErrTime: "WB3107", ErrScheduled: "WB3108",
}

// FieldError is returned when a field of a message may not be published. Nothing was written: the caller may mend the
// message, or roll back.
type FieldError struct {
	Index int    // of the message among those given to Publish, from 0
	Field string // such as Key or Headers["x-a"]
	Value string // the offending value or its first 40 bytes; never of a payload
	Rule  string // the limit that was broken
	Try   string // what to do
	Err   error  // one of the sentinels above
}

func (e *FieldError) Error() string {
	value := ""
	if e.Value != "" {
		value = fmt.Sprintf("%q ", e.Value)
	}
	return fmt.Sprintf("waybill: %s messages[%d].%s %s%v: %s. Try: %s", codes[e.Err], e.Index, e.Field, value, e.Err, e.Rule, e.Try)
}

func (e *FieldError) Unwrap() error { return e.Err }

func badHeaders(stored, why string) error {
	return fmt.Errorf("%w: %s in %q. Try: write [[\"name\",\"value\"],...]", ErrHeaders, why, shorten(stored))
}

// shorten keeps a foreign value from filling a log line.
func shorten(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for len(s) > most-utf8.UTFMax && !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}
