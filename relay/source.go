package relay

import (
	"context"
	"time"

	"github.com/waybillhq/waybill"
)

// Position is a place in a log. Only the source that made it can read it; the relay never compares two of them.
// The empty position is where a new relay starts: the source's configuration says whether that is the beginning or now.
type Position string

// From says where a relay starts that has no cursor yet.
type From string

// Where a new relay starts.
const (
	Beginning From = "beginning" // with the oldest message that is still in the log
	Now       From = "now"       // with what commits from now on
)

// Message is a message as it stands in a log.
type Message struct {
	waybill.Message
	// Pos is the message's number in its log, above 0. Within a key it grows in log order; between keys it may not.
	Pos int64
	// Incarnation is the number of the log's life: it grows when the log may have lost its tail (a failover).
	Incarnation int64
	// CreatedAt is when the row was written, by the database's clock; zero where the log does not know.
	CreatedAt time.Time
}

// Batch is what one Read returned, in log order.
type Batch struct {
	Messages []Message
	// Position is where a relay stands once Messages[:n] are done (published or set aside), for 0 < n <= len(Messages).
	// Position(len(Messages)) may lie beyond the last message, and a batch without messages only moves the position.
	// It is called from one goroutine at a time and only while the Reader is open.
	Position func(n int) Position
}

// Budget bounds one Read.
type Budget struct {
	Messages int // at most so many, at least 1
	Bytes    int // stop after the message that reaches so many bytes; the first message always fits
}

// Source reads a log of committed messages. A Source value serves one relay: one open Reader at a time.
//
// The log's order must keep each key's order: if m1 committed before m2 was published inside its transaction, and both
// have the same key, m1 comes first. A message whose transaction or savepoint rolled back never appears, and a message
// appears only once it is durable: a crash of the database right after Read cannot take it back.
type Source interface {
	// Open starts reading behind from, a position that [Store.Acquire] returned. An error that [Fatal] made stops the
	// relay; after any other the relay asks again, with back-off.
	Open(ctx context.Context, from Position) (Reader, error)
}

// Reader reads one log from one position on. Read and Close are called by one goroutine at a time, but Close may be
// called while Read blocks, and [Store.Save] runs beside Read.
//
// After any error the Reader is spent: the relay closes it, throws away all it had read and not yet saved, takes its
// lease anew and opens another at the saved position.
type Reader interface {
	// Read returns the next messages. It blocks until there are some, or the position moved without any
	// (then the batch is empty, at most once a second), or ctx ends (then it returns ctx's error and stays usable).
	Read(ctx context.Context, budget Budget) (Batch, error)
	Close() error
}

// Waker is a Reader that polls and can be told to look now, because this process has just published.
// Wake may be called from any goroutine and never blocks.
type Waker interface{ Wake() }

// Ranger is a Source that can read a part of its log once more. With it a topic that is missing waits as a [Branch]; without it
// each of its messages is set aside by copy.
type Ranger interface {
	// OpenRange reads the messages of one topic behind from and not behind to, beside the open Reader, which gave to; from was
	// saved, or is empty for the beginning of the log. At the end Read returns [io.EOF]; then to is reached. It returns
	// [ErrNotYet] when to is not behind from: a Reader that began anew has to come there first. Positions of its batches may be
	// asked for after it was closed.
	OpenRange(ctx context.Context, from, to Position, topic string) (Reader, error)
}
