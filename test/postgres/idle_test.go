package postgres

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
)

var statementLine = regexp.MustCompile(`(?m)^waybill\|(.*)\|\d+\|LOG:  (execute|statement).*$`)

// An idle relay asks once a PollMax, in one statement, and writes nothing but its lease.
func TestIdleRelayAsksOnceAPoll(t *testing.T) {
	t.Parallel()
	s := talkingScene(t, talkingServer(t)) // of its own: the transactions of others would make positions worth saving
	s.publish("k", names("old", 1000)...)
	pause, idle := 50*time.Millisecond, 3*time.Second
	if long {
		pause, idle = time.Second, 30*time.Second
	}
	sink := &recorder{}
	s.run(s.source(postgres.Config{PollMax: pause}), sink, relay.Config{})
	sink.want(t, names("old", 1000)...)
	// Looks slow down with the time since the last message, and after it the cursor is saved.
	time.Sleep(10 * pause)
	within(t, "the cursor to be saved", func() bool { return s.cursor().S0.Xmax > 3 && s.cursor().Last == 0 })
	from, began := len(s.logged()), time.Now()
	time.Sleep(idle) // the idle time is what is measured
	var looks, renewals int
	database := s.text(`SELECT current_database()`)
	for _, m := range statementLine.FindAllStringSubmatch(s.logged()[from:], -1) {
		switch line := m[0]; {
		case m[1] != database: // another test's
		case strings.Contains(line, string(look)):
			looks++
		case strings.Contains(line, string(renew)):
			renewals++
		case !strings.HasSuffix(line, "-- ping"): // the driver's, before a renewal
			t.Errorf("neither a look nor a renewal: %s", line)
		}
	}
	t.Logf("%d looks in %v, %d renewals", looks, idle, renewals)
	if most := int(time.Since(began)/pause) + 2; looks == 0 || looks > most {
		t.Errorf("%d looks in %v, want at most %d", looks, idle, most)
	}
	for _, p := range s.plans(from) {
		if by, rows := p.outbox(); p.is(look) && rows > 0 {
			t.Errorf("an idle look went through %d rows by %s", rows, by)
		}
	}
}

// R2, R25, whole: saves that set messages aside are transactions on the reader's session, and no look may run inside one.
func TestNoSnapshotIsTakenInsideATransaction(t *testing.T) {
	t.Parallel()
	s := newTalkingScene(t)
	sink := &recorder{before: func(m *relay.Message) error {
		if m.Pos%2 == 0 {
			return relay.Rejected(errors.New("no"))
		}
		return nil
	}}
	r := s.run(s.source(postgres.Config{}), sink, relay.Config{Window: 40, OnRejected: relay.Park})
	n := 0
	within(t, "enough looks and saves", func() bool {
		for range 50 {
			s.publish(fmt.Sprint(n%7), fmt.Sprint(n))
			n++
		}
		list := s.plans(0)
		return count(list, look) > 20 && count(list, save) > 20
	})
	within(t, "half of the messages to be parked", func() bool { return s.number(`SELECT count(*) FROM waybill.parked`) == int64(n/2) })
	r.stop()
	for _, p := range s.plans(0) {
		if p.xid != "0" && !p.is(save) && (p.is(look) || p.is(page) || p.is(bounds)) {
			t.Fatalf("a statement of the reader ran in transaction %s: its own number counts as visible\n%s", p.xid, p.Query)
		}
	}
}
