package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// screen is all that a person sees: a line for every fault, or on a terminal one picture that is drawn again and again,
// and the account at the end.
type screen struct {
	out    io.Writer
	start  time.Time
	live   bool // draw pictures
	silent bool // say nothing before the account

	mu     sync.Mutex
	faults faults
	lines  []string // the newest, for the picture
}

func newScreen(o Options) *screen {
	s := &screen{out: o.Out, start: time.Now(), live: o.Terminal && o.For == 0 && !o.JSON, silent: o.JSON}
	if s.live {
		io.WriteString(s.out, "\x1b[?1049h\x1b[?25l") // the other screen, no cursor
	} else if !s.silent {
		io.WriteString(s.out, introduction+"\n")
	}
	return s
}

func (s *screen) close() {
	if s.live {
		io.WriteString(s.out, "\x1b[?25h\x1b[?1049l"+introduction)
		s.live = false
	}
}

// fault counts a fault and tells it.
func (s *screen) fault(count func(*faults), text string) {
	s.mu.Lock()
	count(&s.faults)
	s.mu.Unlock()
	s.log(text)
}

func (s *screen) log(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprintf("%6.1f s  %s", time.Since(s.start).Seconds(), text)
	s.lines = append(s.lines[max(0, len(s.lines)-7):], line)
	if !s.live && !s.silent {
		fmt.Fprintln(s.out, line)
	}
}

const introduction = `One registration service, twice. Same requests, same faults at the same moments, one broker (NATS JetStream).
  double write   writes its database and the broker itself: half of its endpoints commit and then publish,
                 the other half publish inside the transaction and then commit. It waits for confirmations,
                 tries three times, and sets the id by which the broker drops duplicates.
  Waybill        writes the message into its own transaction; a relay publishes it.
`

// show draws the picture.
func (s *screen) show(sides []*side, r Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf("waybill demo, %s. Ctrl-C ends the faults and shows the account.\n\n%s\n%s\n%s\n\n%s",
		time.Since(s.start).Round(time.Second), introduction, table(sides, r, "not received", "registered, and nobody was told yet"), s.faults, strings.Join(s.lines, "\n"))
	io.WriteString(s.out, "\x1b[H"+strings.ReplaceAll(text, "\n", "\x1b[K\n")+"\x1b[J")
}

// summary prints the account.
func (s *screen) summary(sides []*side, r Result) error {
	_, err := fmt.Fprintf(s.out, "\n%s\n%s\n\n%s\n", table(sides, r, "lost", "registered, and nobody was told"), s.faults, meaning(sides, r))
	return err
}

func table(sides []*side, r Result, lost, meaning string) string {
	var b strings.Builder
	row := func(name string, double, waybill any, what string) {
		fmt.Fprintf(&b, "  %-16s %12v %9v   %s\n", name, double, waybill, what)
	}
	d, w := r.DoubleWrite, r.Waybill
	fmt.Fprintf(&b, "  %-16s %12s %9s\n", "", "double write", "Waybill")
	row("committed", d.Committed, w.Committed, "registrations in the database")
	row("received", d.Received, w.Received, "different messages at the broker")
	row(lost, d.Lost, w.Lost, meaning)
	row("phantom", d.Phantom, w.Phantom, "told, and never registered")
	row("out of order", d.OutOfOrder, w.OutOfOrder, "an old version of a customer after a newer one")
	row("duplicates", d.Duplicates, w.Duplicates, "told again")
	row("failed requests", sides[0].failed.Load(), sides[1].failed.Load(), "no answer, an error, or turned away")
	return b.String()
}

func (f faults) String() string {
	return fmt.Sprintf("  Faults: broker stopped %d ×, slow %d ×, hung and killed %d ×; both services killed %d ×, the relay killed %d ×;\n"+
		"  one transaction in %d rolled back.", f.stopped, f.slow, f.crashed, f.killed, f.relayKilled, takenOneIn)
}

func meaning(sides []*side, r Result) string {
	text := fmt.Sprintf("The double write told nobody about %d registrations and announced %d that do not exist.", r.DoubleWrite.Lost, r.DoubleWrite.Phantom)
	if d, w := sides[0].failed.Load(), sides[1].failed.Load(); d > w {
		text += fmt.Sprintf("\nIt failed %d requests, because it waits for the broker; Waybill's service, which never does, failed %d.", d, w)
	}
	if r.Waybill.kept() {
		text += "\nWaybill announced every registration, in order, and nothing else."
	}
	return text
}
