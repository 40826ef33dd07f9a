package postgres

import (
	"fmt"
	"testing"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
	"github.com/waybillhq/waybill/waybilltest"
)

func TestSource(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresConfig{}) // to crash it
	waybilltest.TestSource(t, func(t *testing.T) waybilltest.SourceHarness {
		s := emptyScene(t, pg.URL())
		return waybilltest.SourceHarness{
			Open: func(t *testing.T) (relay.Source, relay.Store) {
				src := s.source(postgres.Config{})
				return src, src
			},
			Begin: func(t *testing.T) waybilltest.Transaction { return suiteTransaction{s.begin()} },
			Crash: func(t *testing.T) {
				pg.Crash()
				pg.Restart()
				s.reconnect()
			},
		}
	})
}

type suiteTransaction struct{ *transaction }

func (x suiteTransaction) Publish(messages ...waybill.Message) {
	x.s.t.Helper()
	x.s.must(x.s.outbox.Publish(x.s.t.Context(), waybill.SQL(x.Tx), messages...))
}

func (x suiteTransaction) Commit()     { x.s.t.Helper(); x.commit() }
func (x suiteTransaction) Rollback()   { x.s.t.Helper(); x.s.must(x.Tx.Rollback()) }
func (x suiteTransaction) Savepoint()  { x.s.t.Helper(); x.transaction.run(`SAVEPOINT suite`) }
func (x suiteTransaction) RollbackTo() { x.s.t.Helper(); x.transaction.run(`ROLLBACK TO suite`) }

// The store saves on the reader's session, so each store of the suite has a reader open.
func TestStore(t *testing.T) {
	t.Parallel()
	url := testenv.Database(t)
	waybilltest.TestStore(t, func(t *testing.T) waybilltest.StoreHarness {
		s := emptyScene(t, url)
		return waybilltest.StoreHarness{
			Open: func(t *testing.T) relay.Store {
				src := s.source(postgres.Config{})
				reader, err := src.Open(t.Context(), "")
				s.must(err)
				t.Cleanup(func() { reader.Close() })
				return src
			},
			// Within one span, because a position beyond the server's newest transaction cannot be saved.
			Position: func(n int) relay.Position { return relay.Position(fmt.Sprintf("3:3: %d 3:4:", n)) },
		}
	})
}

// emptyScene is cheaper than a database for each case.
func emptyScene(t *testing.T, url string) *scene {
	t.Helper()
	if _, err := openDB(t, url).Exec(`DROP SCHEMA IF EXISTS waybill CASCADE`); err != nil {
		t.Fatal(err)
	}
	return newSceneAt(t, url)
}
