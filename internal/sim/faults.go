package sim

import "time"

// unleash starts the faults that the seed drew. Each strikes a few times, at moments of its own, and ends before the chaos does.
func (w *world) unleash() {
	lease := w.cfg.Lease
	w.strike(RelayCrash, 3, func() {
		if p := w.anyone(); p != nil {
			p.dieIn = 1 + w.rand.IntN(12)
		}
	})
	w.strike(RelayPause, 3, func() {
		if p := w.anyone(); p != nil {
			p.freezeIn, p.freezeFor = 1+w.rand.IntN(12), w.between(lease/10, lease*5/2)
		}
	})
	w.strike(RelayStop, 2, func() {
		if p := w.anyone(); p != nil {
			p.stop()
		}
	})
	w.strike(DatabaseCrash, 3, func() {
		if w.db.up {
			w.db.crash(w.between(5*time.Millisecond, lease/2))
		}
	})
	w.strike(DatabaseCut, 3, func() {
		s := w.slots[w.rand.IntN(len(w.slots))]
		s.cutUntil = w.now + w.between(lease/10, lease*2)
		w.log(s.name, "cut from the database", int64((s.cutUntil-w.now)/time.Millisecond), "ms")
	})
	w.strike(LeaseDeleted, 1, func() {
		if w.db.up {
			w.spawn(0, w.deleteLease)
		}
	})
	w.strike(Outage, 2, func() {
		w.broker.downUntil, w.broker.mute = w.now+w.between(w.chaos/20, w.chaos/2), w.chance(0.4)
		w.broker.outages++
		w.log("broker", "out of order, ms", int64((w.broker.downUntil-w.now)/time.Millisecond), "")
	})
	w.strike(StuckKey, 1, func() { w.broker.stuckUntil = w.untilSomeTime("stuck key") })
	w.strike(MissingTopic, 1, func() { w.broker.goneUntil = w.untilSomeTime("missing topic") })
}

// strike lets a fault happen once to so many times during the chaos.
func (w *world) strike(f Faults, most int, fault func()) {
	if !w.on(f) {
		return
	}
	for range 1 + w.rand.IntN(most) {
		w.after(w.between(0, w.chaos), func() {
			if !w.healed {
				fault()
			}
		})
	}
}

func (w *world) deleteLease(t *task) {
	x := w.db.begin()
	if x.lock(t, &w.db.leaseLock) {
		w.log("person", "deletes the lease", 0, "")
		x.number()
		x.change = func(tb *tables) { tb.lease = tables{}.lease }
		x.commit(t, true)
	}
}

// untilSomeTime is a moment soon, or one that only tell brings about.
func (w *world) untilSomeTime(what string) time.Duration {
	until := w.now + w.between(0, w.chaos)
	if w.chance(0.3) {
		until = never
	}
	w.log("broker", what, 0, "")
	return until
}

// anyone is a process that lives.
func (w *world) anyone() *proc {
	p := w.slots[w.rand.IntN(len(w.slots))].proc
	if p == nil || p.dead {
		return nil
	}
	return p
}

func (p *proc) stop() {
	p.w.log(p.name, "is asked to stop", 0, "")
	p.happen(func() { p.core.Stop(p.clock()) })
}

// heal ends all that goes wrong, but for what the broker refuses until it is told otherwise.
func (w *world) heal() {
	w.log("world", "heals", 0, "")
	w.healed = true
	w.broker.downUntil = 0
	for _, s := range w.slots {
		s.cutUntil = 0
		if p := s.proc; p != nil && !p.dead {
			p.dieIn, p.freezeIn = 0, 0
			if p.frozen() {
				p.thaw()
			}
		}
	}
}

// tell makes the broker accept everything from now on.
func (w *world) tell() {
	w.log("broker", "accepts everything", 0, "")
	b := w.broker
	b.told, b.stuckUntil, b.goneUntil = true, 0, 0
}
