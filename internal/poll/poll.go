// Package poll paces a reader that has to ask whether there is something new.
package poll

import (
	"context"
	"time"
)

// Pace says when to look next: min after work was found, later the longer there was none, at most max, and at once when woken.
// A wake-up counts as work found, because it may come a little before the commit that it is about.
//
// A pause is an eighth of the time since work was last found. So a message that comes after a gap waits at most an eighth of
// that gap, and an idle second costs few looks.
type Pace struct {
	min, max time.Duration
	found    time.Time // when work was last found, or announced
	looked   time.Time // when the last look ended
	began    time.Time // when the last look began: the pause counts from there, so that looks come at an even pace
	waited   bool      // the last look came after a Wait, not at once because the one before had left something behind
	slow     time.Duration
	wake     chan struct{}
}

// New returns a pace whose first look is due at once.
func New(min, max time.Duration) *Pace {
	return &Pace{min: min, max: max, wake: make(chan struct{}, 1)}
}

// Wake makes the next look due now. It may be called from any goroutine and never blocks.
func (p *Pace) Wake() {
	select {
	case p.wake <- struct{}{}:
	default: // a wake-up is pending already
	}
}

// Wait blocks until the next look is due, and returns ctx's error if that ends first.
func (p *Pace) Wait(ctx context.Context) error {
	defer func() { p.began, p.waited = time.Now(), true }()
	if err := ctx.Err(); err != nil || p.looked.IsZero() {
		return err
	}
	least := 20 * p.slow
	if err := p.sleep(ctx, max(min(max(p.looked.Sub(p.found)/8, p.min), p.max), least), p.wake); err != nil {
		return err
	}
	return p.sleep(ctx, least, nil)
}

// sleep blocks until so long after the last look, or until woken.
func (p *Pace) sleep(ctx context.Context, pause time.Duration, wake <-chan struct{}) error {
	timer := time.NewTimer(time.Until(p.began.Add(pause)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-wake:
		p.found = time.Now()
	}
	return nil
}

// Looked tells that a look has ended and whether it found work. slow is the time it took, where looking itself may be a burden:
// the next pause is at least twenty times that, even when woken. 0 says that it is none.
func (p *Pace) Looked(found bool, slow time.Duration) {
	p.looked, p.slow = time.Now(), slow
	if !p.waited {
		p.began = p.looked
	}
	p.waited = false
	if found || p.found.IsZero() {
		p.found = p.looked
	}
}

// Sleep blocks for d. If ctx ends first it returns ctx's error.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
