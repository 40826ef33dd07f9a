package relay

import (
	"errors"
	"fmt"
	"time"
)

// ErrLost is returned by a Store when another owner has taken the relay.
var ErrLost = errors.New("waybill: WB5001 the relay has a newer owner")

// ErrNotYet is returned by [Ranger.OpenRange] when the range would end before it begins.
var ErrNotYet = errors.New("waybill: WB5008 the reader has not yet come to where the branch stands")

// HeldError is returned by [Store.Acquire] when another owner is alive.
type HeldError struct {
	Owner string
	For   time.Duration // until its lease runs out, if it is not renewed
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("waybill: WB5002 the relay is owned by %q for another %v", e.Owner, e.For.Round(time.Millisecond))
}

type class int

const (
	temporary class = iota
	rejected
	topic
	fatal
)

type classError struct {
	class class
	err   error
}

func (e *classError) Error() string { return e.err.Error() }
func (e *classError) Unwrap() error { return e.err }

// Rejected marks err, given to a [Sink]'s confirm: the broker can never accept this message as things stand.
func Rejected(err error) error { return &classError{rejected, err} }

// Topic marks err, given to a [Sink]'s confirm: the message's topic is missing or forbidden.
func Topic(err error) error { return &classError{topic, err} }

// Fatal marks err, returned by a [Source] or [Store]: the promise may be broken, so the relay must stop and say so
// rather than go on by itself.
func Fatal(err error) error { return &classError{fatal, err} }

// IsRejected tells whether err was made by [Rejected]; IsTopic and IsFatal likewise.
func IsRejected(err error) bool { return classify(err) == rejected }

// IsTopic tells whether err was made by [Topic].
func IsTopic(err error) bool { return classify(err) == topic }

// IsFatal tells whether err was made by [Fatal].
func IsFatal(err error) bool { return classify(err) == fatal }

func classify(err error) class {
	var c *classError
	if errors.As(err, &c) {
		return c.class
	}
	return temporary
}
