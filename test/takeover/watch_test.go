package takeover

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/snapshot"
)

// history notes every change of who owns a relay and of how far it is, so that no moment is missed. A row lock orders the notes of a relay.
var history = []string{`
CREATE TABLE leases (n bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), relay text, owner text, epoch bigint, early boolean);
CREATE TABLE cursors (n bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), relay text, epoch bigint, position text);
CREATE FUNCTION note_lease() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO public.leases (relay, owner, epoch, early) VALUES (NEW.relay, NEW.owner, NEW.epoch, NEW.owner <> OLD.owner AND OLD.expires_at > clock_timestamp());
	RETURN NULL;
END $$;
CREATE FUNCTION note_cursor() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO public.cursors (relay, epoch, position) VALUES (NEW.relay, NEW.epoch, NEW.position);
	RETURN NULL;
END $$;
CREATE TRIGGER note AFTER UPDATE ON waybill.lease FOR EACH ROW EXECUTE FUNCTION public.note_lease();
CREATE TRIGGER note AFTER UPDATE ON waybill.cursor FOR EACH ROW WHEN (NEW.branch = '') EXECUTE FUNCTION public.note_cursor()`}

// checkHistory sees that each owner came when the one before had ended and with a greater epoch, that no save is of an owner
// before, and that no position went back.
func (s *scene) checkHistory(t *testing.T) {
	t.Helper()
	owners, epochs := map[string]string{}, map[string]int64{}
	s.each(t, `SELECT relay, owner, epoch, early FROM leases ORDER BY n`, func(scan func(...any) error) error {
		var relay, owner string
		var epoch int64
		var early bool
		err := scan(&relay, &owner, &epoch, &early)
		if early || epoch < epochs[relay] || owner != owners[relay] && epoch == epochs[relay] {
			t.Errorf("%s: %q in epoch %d followed %q in epoch %d, whose lease had not ended: %v", relay, owner, epoch, owners[relay], epochs[relay], early)
		}
		owners[relay], epochs[relay] = owner, epoch
		return err
	})
	clear(epochs)
	positions := map[string]snapshot.Cursor{}
	saves := 0
	s.each(t, `SELECT relay, epoch, position FROM cursors ORDER BY n`, func(scan func(...any) error) error {
		var relay, position string
		var epoch int64
		err := scan(&relay, &epoch, &position)
		if err == nil && epoch < epochs[relay] {
			t.Errorf("%s: saved in epoch %d, after epoch %d", relay, epoch, epochs[relay])
		}
		epochs[relay] = epoch
		if err != nil || position == "" {
			return err
		}
		saves++
		now, err := snapshot.ParseCursor(position)
		if before, known := positions[relay]; known && err == nil && !beyond(now, before) {
			t.Errorf("%s: the cursor went back from %v to %v", relay, before, now)
		}
		positions[relay] = now
		return err
	})
	t.Logf("%d changes of cursors, in order", saves)
}

// beyond tells that all which is done at before is done at now.
func beyond(now, before snapshot.Cursor) bool {
	if now.S0.Equal(before.S0) {
		return now.Last >= before.Last && (before.Last == 0 || now.S1.Covers(before.S1))
	}
	return now.S0.Covers(before.S0)
}

func (s *scene) each(t *testing.T, query string, row func(scan func(...any) error) error) {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// watch asks all processes again and again what they believe.
func (s *scene) watch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		type seat struct {
			process *process
			relay   string
		}
		streak := map[seat]int{}
		for ctx.Err() == nil {
			epochs := s.epochs(ctx, t)
			running := map[picture]*process{}
			for _, p := range s.alive() {
				for _, now := range p.status() {
					at := seat{p, now.Relay}
					if now.State != "running" {
						streak[at] = 0
						continue
					}
					if other := running[now]; other != nil {
						t.Errorf("processes %d and %d both run %s in epoch %d", other.number, p.number, now.Relay, now.Epoch)
					}
					running[now] = p
					if now.Epoch >= epochs[now.Relay] {
						streak[at] = 0
						continue
					}
					streak[at]++
					s.mu.Lock()
					s.stale = max(s.stale, streak[at])
					late := streak[at] == s.asked
					s.mu.Unlock()
					if late {
						t.Errorf("process %d still runs %s in epoch %d, which had epoch %d before it was asked", p.number, now.Relay, now.Epoch, epochs[now.Relay])
					}
				}
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(watching.Wait)
	t.Cleanup(cancel)
}

func (s *scene) epochs(ctx context.Context, t *testing.T) map[string]int64 {
	epochs := map[string]int64{}
	rows, err := s.db.QueryContext(ctx, `SELECT relay, epoch FROM waybill.lease`)
	if err == nil {
		defer rows.Close()
		for rows.Next() && err == nil {
			var relay string
			var epoch int64
			err = rows.Scan(&relay, &epoch)
			epochs[relay] = epoch
		}
	}
	if err == nil {
		err = rows.Err()
	}
	if err != nil && ctx.Err() == nil {
		t.Errorf("read the leases: %v", err)
	}
	return epochs
}
