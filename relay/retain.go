package relay

import (
	"context"
	"time"
)

// Retainer is a [Source] that keeps published messages until it is told to delete them.
type Retainer interface {
	// Retain makes one pass: it deletes the messages that are older than age by the database's clock, published by every
	// relay that has a cursor there, and not set aside. It works in small transactions with pauses between. Without any
	// cursor it deletes nothing. It may run beside anything, in any number of processes.
	Retain(ctx context.Context, age time.Duration) (Retention, error)
}

// Retention is what one pass of a [Retainer] did, up to its error if there was one.
type Retention struct {
	Deleted int64
	// HeldBy names the relays whose cursors hold back messages older than twice the age.
	HeldBy []string
}
