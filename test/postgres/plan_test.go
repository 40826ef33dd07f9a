package postgres

import (
	"slices"
	"testing"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

const retained = 300_000

// The reader's three statements keep to one index each, and go through rows that are new and no others, whatever the table
// retains, with statistics and without.
func TestPlansDoNotDependOnRetainedRows(t *testing.T) {
	t.Parallel()
	s := newTalkingScene(t)
	low, middle := s.begin(), s.begin() // far below all others, and open until late
	low.publish("low", "low")
	s.exec(`INSERT INTO waybill.outbox (id, topic, key, type, payload) SELECT n, 'orders', n % 100, 'order.changed', 'payload' FROM generate_series(1, $1::int) n`, retained)
	middle.publish("middle", "middle")
	s.publish("k", names("between", 2000)...)

	s.plan("without statistics")
	s.exec(`ANALYZE waybill.outbox`)
	s.plan("with statistics")
	s.plan("with stragglers", low, middle)
}

// plan reads one by one, then a span of many pages, as a new relay that starts now. late transactions commit in that span.
func (s *scene) plan(name string, late ...*transaction) {
	s.t.Run(name, func(t *testing.T) {
		s := s.in(t)
		reader, err := s.source(postgres.Config{From: relay.Now}).Open(t.Context(), "")
		s.must(err)
		defer reader.Close()
		from := len(s.logged())
		read := func(want int) {
			t.Helper()
			for n := 0; n < want; {
				batch, err := reader.Read(t.Context(), relay.Budget{Messages: 100, Bytes: 1 << 20})
				s.must(err)
				n += len(batch.Messages)
			}
		}
		for range 8 { // a server that chose its plans would choose again from the sixth execution on
			s.publish("k", "one")
			read(1)
		}
		s.publish("k", names("many", 500)...)
		s.exec(`INSERT INTO waybill.outbox (id, topic, key, type, payload) SELECT n, 'orders', n % 100, 'order.changed', 'payload' FROM generate_series(1, 500) n`)
		want := 1000
		for _, tx := range late {
			tx.commit()
			want++
		}
		read(want)

		var rows, looks, pages, paged int
		for _, p := range s.plans(from) {
			by, n := p.outbox()
			for _, filter := range p.parses() {
				t.Errorf("a snapshot is parsed for every row: %s", filter)
			}
			switch {
			case p.is(look):
				looks, rows = looks+1, rows+n
				keepsTo(t, p, by, "Index Scan outbox_xid_pos")
			case p.is(bounds):
				keepsTo(t, p, by, "Index Scan outbox_xid_pos", "Index Only Scan outbox_xid_pos")
				if n != want {
					t.Errorf("measuring %d rows went through %d", want, n)
				}
			case p.is(page):
				pages, paged = pages+1, paged+n
				keepsTo(t, p, by, "Index Scan outbox_pkey")
			}
			if p.xid != "0" && (p.is(look) || p.is(bounds) || p.is(page)) {
				t.Errorf("a statement of the reader ran in transaction %s: its own number would count as visible\n%s", p.xid, p.Query)
			}
		}
		if looks < 9 || pages < 10 {
			t.Fatalf("%d looks and %d pages were logged", looks, pages)
		}
		if most := 8*2 + 101 + 10; rows > most {
			t.Errorf("%d looks went through %d rows, want at most %d", looks, rows, most)
		}
		if most := want + 20; paged > most {
			t.Errorf("%d pages went through %d rows, want at most %d", pages, paged, most)
		}
		t.Logf("%d looks through %d rows, %d pages through %d rows", looks, rows, pages, paged)
	})
}

func keepsTo(t *testing.T, p plan, by []string, allowed ...string) {
	t.Helper()
	for _, scan := range by {
		if !slices.Contains(allowed, scan) {
			t.Errorf("%s, want %s\n%s", scan, allowed, p.Query)
		}
	}
}

// A relay that starts at the beginning of a big table measures it once, and then each page costs what it returns.
func TestBacklogIsReadPageByPage(t *testing.T) {
	t.Parallel()
	s := newTalkingScene(t)
	backlog := 100_000
	s.exec(`INSERT INTO waybill.outbox (id, topic, key, type, payload) SELECT n, 'orders', n % 100, 'order.changed', 'payload' FROM generate_series(1, $1::int) n`, backlog)
	reader, err := s.source(postgres.Config{}).Open(t.Context(), "")
	s.must(err)
	defer reader.Close()
	const size, reads = 1000, 20
	var last int64
	for range reads {
		batch, err := reader.Read(t.Context(), relay.Budget{Messages: size, Bytes: 1 << 30})
		s.must(err)
		for _, m := range batch.Messages {
			if m.Pos != last+1 {
				t.Fatalf("pos %d came after %d", m.Pos, last)
			}
			last = m.Pos
		}
	}
	list := s.plans(0)
	if n := count(list, bounds); n != 1 {
		t.Errorf("the backlog was measured %d times", n)
	}
	for _, p := range list {
		_, n := p.outbox()
		switch {
		case p.is(look) && n > size+1, p.is(page) && n > size, p.is(bounds) && n > backlog:
			t.Errorf("%d rows for one page of %d\n%s", n, size, p.Query)
		}
	}
}
