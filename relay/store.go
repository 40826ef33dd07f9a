package relay

import (
	"context"
	"time"
)

// Store keeps what a relay must remember, in the source's own database: who owns it, how far it is, what it set aside.
//
// The epoch of the lease stands in the cursor row itself and is compared by the very statement that changes the row, never by
// a subquery on the lease: an update that waited for a lock would pass such a guard and overwrite a newer owner's cursor.
type Store interface {
	// Acquire makes the claim's owner the relay's owner when nobody is, the old lease has run out by the database's clock, or
	// it is it already. In one durable transaction it writes an epoch above every earlier one into the lease, the cursor and
	// its branches, does what people have asked for, and returns what the new owner starts from. When another owner is alive it
	// returns a [*HeldError].
	Acquire(ctx context.Context, claim Claim) (Tenure, error)
	// Renew extends the lease by ttl from now. [ErrLost] when the epoch is no longer the newest. asked tells that a person wants
	// what only Acquire does: the owner ends its tenure cleanly and takes the lease anew.
	Renew(ctx context.Context, lease Lease, ttl time.Duration) (asked bool, err error)
	// Save does all of s in one transaction, or nothing. [ErrLost] when the epoch is no longer the newest.
	// After any other error the outcome is unknown. It is never called by two goroutines at once.
	Save(ctx context.Context, lease Lease, s Save) error
	// Held returns the messages of one lane that wait in the parked table in state held, oldest first, at most limit.
	Held(ctx context.Context, lease Lease, lane string, limit int) ([]Parked, error)
	// Release ends the lease, so that another owner need not wait for it to run out. Releasing a lost lease does nothing.
	Release(ctx context.Context, lease Lease) error
}

// Claim is who wants to run a relay.
type Claim struct {
	Relay, Owner string
	TTL          time.Duration // how long the lease lasts without a renewal
	// Topics are the patterns of the relay's topics, kept with the cursor: for people who look, and for retention, which keeps
	// what no relay publishes. Empty is every topic.
	Topics []string
}

// Lease is the right to run a relay.
type Lease struct {
	Relay string
	Owner string
	Epoch int64
}

// Tenure is what a new owner starts from.
type Tenure struct {
	Lease    Lease
	Position Position
	// Held are the lanes with messages in state held: later messages of these lanes must go behind them.
	Held []string
	// Branches are the topics that wait, by topic.
	Branches []Branch
}

// Branch is a topic that waits because the broker has no place for it: a cursor of its own, one row whatever the count. The
// relay's cursor passes the topic's messages meanwhile.
type Branch struct {
	Topic    string
	Position Position // everything of the topic up to here is done
	Error    string   // why it waits, shortened to 512 bytes
}

// Save is one step of a relay's bookkeeping.
type Save struct {
	// Position is the new cursor; empty leaves it as it is.
	Position Position
	// Durable asks that the save survives a crash of the database from the moment Save returns. Without it a crash
	// may undo the save, which costs duplicates within the window and nothing else.
	Durable bool
	// Park are messages to set aside. One that is there already (same relay and pos) stays as it is; if its id is another, the
	// numbers of the log began anew, and the error is [Fatal].
	Park []Parked
	// Retried are parked messages that were tried again in vain: attempts and error change.
	Retried []Parked
	// Unpark are parked messages that have been published: their rows go.
	Unpark []Parked
	// Branches are those that began or moved: their rows are written.
	Branches []Branch
	// Merged are topics whose branch is over: their rows go.
	Merged []string
	// Published are the messages confirmed since the last save, those of Unpark among them, for a store that marks rows.
	// They may lie beyond Position.
	Published []*Message
}

// Parked is a message set aside: the cursor has passed it (or passes it in the same save).
type Parked struct {
	Message
	// Lane is the key, or for a message without one a name of its own.
	Lane string
	// State is [StateHeld] or [StateParked].
	State string
	// Attempts counts how often the broker rejected this message. An outage counts nothing.
	Attempts int
	// Error is the last reason, shortened to 512 bytes.
	Error string
}

// The states of a message set aside.
const (
	StateHeld   = "held"   // it is tried again by itself; later messages of its lane wait behind it
	StateParked = "parked" // it waits for a person; its lane flows on
)
