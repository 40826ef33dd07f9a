package main

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// retentionPause is how long after one pass the next begins.
const retentionPause = time.Minute

// retain deletes old messages of the relay's source until ctx ends, while this process owns the relay. It may be done by
// many processes at once; it need not.
func (r *running) retain(ctx context.Context, age time.Duration, log *slog.Logger) {
	log = log.With("source", r.sourceName, "age", age.String())
	var heldBy []string
	for pause := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if pause = time.Second; r.relay.Status().State != "running" {
			continue
		}
		pause = retentionPause
		began := time.Now()
		done, err := r.source.Retain(ctx, age)
		if done.Deleted > 0 {
			log.Info("retention deleted old messages", "messages", done.Deleted, "took", time.Since(began).Round(time.Millisecond).String())
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("retention broke off; it goes on in a minute", "error", err)
		}
		if err == nil && !slices.Equal(done.HeldBy, heldBy) {
			if heldBy = done.HeldBy; len(heldBy) > 0 {
				log.Warn("WB5006 relays have not published messages that are older than twice the age, so these stay. "+
					"Try: start them, or remove the cursors of those that are gone, see docs/operations.md", "relays", heldBy)
			}
		}
	}
}
