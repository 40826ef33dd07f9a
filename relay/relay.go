package relay

import (
	"context"
	"time"
)

// Relay moves one log to one sink. Make it with New, run it with Run.
type Relay struct{ cfg Config }

// New checks cfg and returns a relay that does nothing until Run.
func New(cfg Config) (*Relay, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Relay{cfg: cfg}, nil
}

// Run relays until ctx ends, then stops reading, waits for what is in flight, saves the cursor, gives the lease back and
// returns nil. It retries every outage for ever, and returns an error only when going on could break the promise.
func (r *Relay) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Wake makes a polling source look for messages now. Call it after a commit, or give it to waybill.Config.Wake.
// It may be called from any goroutine, never blocks, and does nothing while the relay is not the owner.
func (r *Relay) Wake() {}

// Status is a picture of a relay at one moment.
type Status struct {
	State       string    // "standby" (another process owns the relay), "running", "waiting" (the source does not answer), "stopped"
	Owner       string    // who owns it, as far as this process knows
	Epoch       int64     // of this process's last tenure
	Published   uint64    // messages confirmed by the sink since Run
	Window      int       // messages read and not yet behind the saved cursor
	InFlight    int       // messages given to the sink and not yet confirmed
	HeldLanes   int       // lanes set aside
	LastError   string    // the newest error of source, store or sink; empty when the last of each went well
	LastSuccess time.Time // when the sink last confirmed a message
	Outage      bool      // the sink confirms nothing at the moment
}

// Status returns a picture of the relay. It may be called from any goroutine.
func (r *Relay) Status() Status { return Status{} }
