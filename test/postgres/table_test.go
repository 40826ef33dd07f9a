package postgres

import (
	"testing"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// An outbox that people made: the number is a serial, and the times are missing.
func TestTableOfOnesOwnMayHaveSmallNumbersAndNoTimes(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.exec(`CREATE TABLE own (pos serial PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), id text, topic text, key varchar(9), type text,
		payload bytea, content_type text, headers text, time timestamptz, created_at timestamptz)`)
	s.exec(`CREATE INDEX ON own (xid, pos)`)
	s.exec(`INSERT INTO own (id, topic, key, type) SELECT 'm' || n, 'orders', 'k', 'order.changed' FROM generate_series(1, 5) n`)
	reader, err := s.source(postgres.Config{Table: "own"}).Open(t.Context(), "")
	s.must(err)
	defer reader.Close()
	for n := 0; n < 5; { // the first read finds more than it may return, and goes page by page
		batch, err := reader.Read(t.Context(), relay.Budget{Messages: 2, Bytes: 1000})
		s.must(err)
		for _, m := range batch.Messages {
			if n++; m.Pos != int64(n) || !m.Time.IsZero() {
				t.Errorf("message %d has pos %d and time %v", n, m.Pos, m.Time)
			}
		}
	}
}
