package postgres

import (
	"testing"
	"time"

	"github.com/waybillhq/waybill/source/postgres"
)

// The statements of retention, told apart as the reader's are.
const (
	survey kind = "count(*) FILTER (WHERE old AND passed)"
	remove kind = "DELETE FROM \"waybill\".\"outbox\""
)

// A pass goes over what it deletes and one chunk more, by the primary key, whatever the table retains.
func TestRetentionReadsOneChunkBeyondWhatItDeletes(t *testing.T) {
	t.Parallel()
	s := newTalkingScene(t)
	const rows, chunk = 100_000, 1000
	s.exec(`INSERT INTO waybill.outbox (id, topic, key, type, payload) SELECT n, 'orders', n % 100, 'order.changed', 'payload' FROM generate_series(1, $1::int) n`, rows)
	s.exec(`INSERT INTO waybill.cursor (relay, epoch, position) VALUES ('all', 1, pg_current_snapshot()::text), ('none', 1, '')`)
	src := s.source(postgres.Config{})
	// pass makes one and returns how many surveys there were, and through how many rows they and the deletes went.
	pass := func(age time.Duration, deleted int64) (surveys, surveyed, walked int) {
		t.Helper()
		from := len(s.logged())
		done, err := src.Retain(t.Context(), age)
		s.must(err)
		if done.Deleted != deleted {
			t.Errorf("%d rows were deleted, want %d", done.Deleted, deleted)
		}
		for _, p := range s.plans(from) {
			by, n := p.outbox()
			switch {
			case p.is(survey):
				surveys, surveyed = surveys+1, surveyed+n
			case p.is(remove):
				walked += n
			default:
				continue
			}
			keepsTo(t, p, by, "Index Scan outbox_pkey", "ModifyTable")
		}
		t.Logf("%d surveys of %d rows, %d rows walked, %d deleted", surveys, surveyed, walked, deleted)
		return surveys, surveyed, walked
	}
	for _, when := range []string{"no statistics", "statistics"} {
		if surveys, surveyed, walked := pass(time.Hour, 0); surveys != 1 || surveyed != chunk || walked != 0 {
			t.Errorf("%s: all rows young: %d surveys of %d rows, and %d rows walked", when, surveys, surveyed, walked)
		}
		if surveys, surveyed, walked := pass(0, 0); surveys != 1 || surveyed != chunk || walked != 0 {
			t.Errorf("%s: all rows held back: %d surveys of %d rows, and %d rows walked", when, surveys, surveyed, walked)
		}
		s.exec(`ANALYZE waybill.outbox`)
	}
	s.exec(`DELETE FROM waybill.cursor WHERE relay = 'none'`)
	s.exec(`UPDATE waybill.outbox SET created_at = created_at - interval '2 hours' WHERE pos <= 10500`)
	// The last survey of the pass finds young rows only.
	if surveys, surveyed, walked := pass(time.Hour, 10_500); surveys != 12 || surveyed > 12*chunk+10_500 || walked > 2*11*chunk {
		t.Errorf("10,500 rows old: %d surveys of %d rows, and %d rows walked", surveys, surveyed, walked)
	}
}
