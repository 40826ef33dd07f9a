package relay

import (
	"log/slog"
	"time"
)

// logState is what was last said, so that a change is said once and not at every step, and an alarm at most every ten seconds.
type logState struct {
	state    string
	err      string
	held     int
	branches int
	parked   uint64
	at       map[string]time.Time // by alarm
}

const alarmPace = 10 * time.Second

// due tells whether an alarm may be raised again, and notes that it is.
func (l *logState) due(alarm string) bool {
	if time.Since(l.at[alarm]) < alarmPace {
		return false
	}
	if l.at == nil {
		l.at = map[string]time.Time{}
	}
	l.at[alarm] = time.Now()
	return true
}

// show publishes the picture for Status and tells the person on call about changes.
func (s *shell) show() {
	c, said := s.core, &s.logged
	st := Status{
		State: c.stateName(), Owner: c.owner, Epoch: c.lease.Epoch, Published: c.publishedN, Window: len(c.win),
		InFlight: c.inflight, HeldLanes: c.held, Retried: c.retriedN, SetAside: c.heldN, Parked: c.parkedN, Skipped: c.skippedN,
		LastError: c.lastErr, Outage: c.streak >= gateAfter,
	}
	st.Branches = c.branchNames
	if c.everSuccess {
		st.LastSuccess = s.start.Add(c.confirmed)
	}
	s.relay.status.Store(&st)
	if st.State != said.state {
		said.state = st.State
		s.log().Info("state", "state", st.State, "owner", st.Owner, "epoch", st.Epoch)
	}
	switch {
	case st.HeldLanes > said.held && said.due("held"):
		said.held = st.HeldLanes
		s.log().Warn("keys are set aside and tried again by themselves; the others flow on", "held", st.HeldLanes, "error", c.asideErr)
	case st.HeldLanes == 0 && said.held > 0:
		said.held = 0
		s.log().Info("no key is set aside any more")
	}
	switch n := len(st.Branches); {
	case n > said.branches && said.due("branches"):
		said.branches = n
		s.log().Warn("topics wait, each with a cursor of its own; the others flow on, without order between the two", "topics", st.Branches[:min(n, 10)], "count", n, "error", c.asideErr)
	case n == 0 && said.branches > 0:
		said.branches = 0
		s.log().Info("no topic waits any more")
	}
	if c.parkedN > said.parked && said.due("parked") {
		said.parked = c.parkedN
		s.log().Warn("messages are parked and wait for a person; their keys flow on without them", "parked", c.parkedN, "error", c.asideErr)
	}
	switch {
	case st.LastError == "":
		said.err = ""
	case st.LastError != said.err && st.LastError != c.asideErr && said.due("trouble"):
		said.err = st.LastError
		s.log().Warn("trouble; the relay goes on trying", "error", st.LastError, "outage", st.Outage)
	}
}

func (s *shell) log() *slog.Logger { return s.cfg.Logger.With("relay", s.cfg.Name) }

func (c *core) stateName() string {
	switch {
	case c.phase == stopped:
		return "stopped"
	case c.phase == draining && c.end == endStop:
		return "stopping"
	case c.phase == running && c.opened:
		return "running"
	case c.phase == standby && c.fails == 0 && c.owner != "" && c.owner != c.cfg.Owner:
		return "standby"
	}
	return "waiting"
}
