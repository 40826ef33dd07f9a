package relay

import "time"

// logState is what was last said, so that a change is said once and not at every step.
type logState struct {
	state string
	err   string
	at    time.Time
	held  int
}

// show publishes the picture for Status and tells the person on call about changes.
func (s *shell) show() {
	c := s.core
	st := Status{
		State: c.stateName(), Owner: c.owner, Epoch: c.lease.Epoch, Published: c.publishedN, Window: len(c.win),
		InFlight: c.inflight, HeldLanes: c.held, LastError: c.lastErr, Outage: c.streak >= gateAfter,
	}
	if c.everSuccess {
		st.LastSuccess = s.start.Add(c.confirmed)
	}
	s.relay.status.Store(&st)
	now := time.Now()
	log := s.cfg.Logger.With("relay", s.cfg.Name)
	if st.State != s.logged.state {
		log.Info("state", "state", st.State, "owner", st.Owner, "epoch", st.Epoch)
		s.logged.state = st.State
	}
	if st.HeldLanes != s.logged.held {
		if st.HeldLanes > s.logged.held && s.logged.held == 0 {
			log.Warn("keys are set aside; the others flow on", "held", st.HeldLanes, "error", st.LastError)
		} else if st.HeldLanes == 0 {
			log.Info("no key is set aside any more")
		}
		s.logged.held = st.HeldLanes
	}
	// An outage is told once, then every ten seconds, not at every failed try.
	if st.LastError != "" && st.LastError != s.logged.err && (s.logged.err == "" || now.Sub(s.logged.at) > 10*time.Second) {
		log.Warn("trouble", "error", st.LastError, "outage", st.Outage)
		s.logged.err, s.logged.at = st.LastError, now
	}
	if st.LastError == "" {
		s.logged.err = ""
	}
}

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
