package postgres

import (
	"testing"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

// A transaction that others prepare is published after its second phase, however late, and one that is forgotten stalls
// nobody, across restarts of the relay.
func TestPreparedTransactionIsPublishedAfterItsSecondPhase(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	name := s.text(`SELECT current_database()`)
	prepare := func(id string) {
		tx := s.begin()
		tx.publish("k", id)
		tx.run(`PREPARE TRANSACTION '` + name + id + `'`)
		s.must(tx.Commit()) // there is none any more: only the driver must hear of it
	}
	prepare("late")
	prepare("orphan")
	prepare("undone")
	t.Cleanup(func() { s.db.Exec(`ROLLBACK PREPARED '` + name + `orphan'`) })

	sink := &recorder{}
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{})
	s.publish("k", names("first", 10)...)
	sink.want(t, names("first", 10)...)
	r.stop()
	r = s.run(s.source(postgres.Config{}), sink, relay.Config{})
	s.publish("k", names("second", 10)...)
	sink.want(t, names("second", 10)...)
	s.exec(`ROLLBACK PREPARED '` + name + `undone'`)
	s.exec(`COMMIT PREPARED '` + name + `late'`)
	sink.want(t, "late")
	s.publish("k", "last")
	sink.want(t, "last")
	r.stop()
	if have := sink.ids(); len(have) != 22 {
		t.Errorf("published %v", have)
	}
}
