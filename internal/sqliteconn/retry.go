package sqliteconn

import (
	"context"
	"strings"
	"time"
)

// BusyTimeout is SQLite's own wait for a lock, in milliseconds, before a statement fails as busy. It is short because its
// pauses grow to 100 ms, and many writers that hold the lock in turns would starve who waits so patiently.
const BusyTimeout = 10

// Retry runs f until it does not fail for a lock that another connection holds, or ctx ends. f must do nothing when it fails so.
func Retry(ctx context.Context, f func() error) error {
	for {
		err := f()
		// Every driver has an error of its own, but all quote SQLite (https://www.sqlite.org/rescode.html#busy).
		if err == nil || !strings.Contains(err.Error(), "database is locked") {
			return err
		}
		timer := time.NewTimer(time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
