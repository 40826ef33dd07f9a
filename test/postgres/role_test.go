package postgres

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/schema"
	"github.com/waybillhq/waybill/source/postgres"
)

// A relay needs no more than its role: it identifies the server, flushes what others left unflushed, sets aside and releases.
func TestTheRelayRoleIsEnough(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.must(schema.ApplyRoles(t.Context(), s.db, dialect.Postgres))
	u, err := url.Parse(s.url)
	s.must(err)
	q := u.Query()
	q.Set("role", "waybill_relay")
	u.RawQuery = q.Encode()
	start := time.Now()
	sink := &recorder{before: func(m *relay.Message) error {
		if m.ID == "held" && time.Since(start) < 2*time.Second {
			return relay.Rejected(errors.New("not now"))
		}
		return nil
	}}
	if n := s.number(`SELECT count(*) FROM pg_roles WHERE rolname = 'waybill_relay' AND (rolsuper OR rolreplication)`); n != 0 {
		t.Error("the role may do more than it should")
	}
	r := s.run(s.sourceAt(u.String(), postgres.Config{}), sink, relay.Config{Lease: 2 * time.Second})
	s.publish("k", "held", "behind")
	for _, id := range names("async", 20) {
		s.publishAsync(id)
	}
	sink.want(t, append(names("async", 20), "held", "behind")...)
	r.stop()
}
