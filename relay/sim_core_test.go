package relay

import (
	"math/rand/v2"
	"time"
)

// SimShell does what the core asks for, in the simulation. It is internal/sim's Shell, which this package cannot import.
type SimShell interface {
	Acquire()
	Open(from Position, epoch int64)
	Renew(lease Lease, sent time.Duration)
	Read(b Budget)
	QuitRead()
	OpenRange(topic string, from, to Position)
	ReadRange(b Budget)
	CloseRange()
	Send(messages []*Message, until time.Duration, confirm func(i int, err error))
	Save(lease Lease, s Save)
	Load(lease Lease, lane string, limit int)
	CloseReader()
	Release(lease Lease)
	Done(err error)
}

// SimCore gives the simulation, which lives outside the package, the core and nothing else.
type SimCore struct {
	core     *core
	shell    SimShell
	confirms []confirmation
}

// NewSimCore returns a core with one of the known mistakes, or none.
func NewSimCore(cfg Config, maxBatch int, rnd *rand.Rand, broken string, shell SimShell) *SimCore {
	c := newCore(cfg, maxBatch, rnd)
	c.broken = bug(broken)
	return &SimCore{core: c, shell: shell}
}

func (s *SimCore) Tick(now time.Duration) { s.step(now, evTick{}) }
func (s *SimCore) Stop(now time.Duration) { s.step(now, evStop{}) }
func (s *SimCore) Sent(now time.Duration) { s.step(now, evSent{}) }
func (s *SimCore) Acquired(now time.Duration, t Tenure, err error) {
	s.step(now, evAcquired{t, err})
}
func (s *SimCore) Opened(now time.Duration, err error) { s.step(now, evOpened{err}) }
func (s *SimCore) Renewed(now, sent time.Duration, err error) {
	s.step(now, evRenewed{sent: sent, err: err})
}
func (s *SimCore) Read(now time.Duration, b Batch, err error)  { s.step(now, evRead{b, err}) }
func (s *SimCore) RangeOpened(now time.Duration, err error)    { s.step(now, evRangeOpened{err}) }
func (s *SimCore) Range(now time.Duration, b Batch, err error) { s.step(now, evRange{b, err}) }
func (s *SimCore) Saved(now, took time.Duration, err error)    { s.step(now, evSaved{took, err}) }
func (s *SimCore) Held(now time.Duration, rows []Parked, err error) {
	s.step(now, evHeld{rows, err})
}

// Confirmed hands over all that confirm was told since the last time, as the shell's loop does.
func (s *SimCore) Confirmed(now time.Duration) {
	list := s.confirms
	s.confirms = nil
	s.step(now, evConfirmed{list})
}

func (s *SimCore) Deadline() time.Duration { return s.core.deadline() }

func (s *SimCore) step(now time.Duration, ev event) {
	for _, a := range s.core.step(now, ev) {
		switch a := a.(type) {
		case actAcquire:
			s.shell.Acquire()
		case actOpen:
			s.shell.Open(a.from, a.epoch)
		case actRenew:
			s.shell.Renew(a.lease, a.sent)
		case actRead:
			s.shell.Read(a.budget)
		case actQuitRead:
			s.shell.QuitRead()
		case actQuitRange: // the simulated ones take no time worth it
		case actOpenRange:
			s.shell.OpenRange(a.topic, a.from, a.to)
		case actReadRange:
			s.shell.ReadRange(a.budget)
		case actCloseRange:
			s.shell.CloseRange()
		case actSend:
			messages := make([]*Message, len(a.entries))
			for i, e := range a.entries {
				messages[i] = e.msg
			}
			s.shell.Send(messages, a.until, func(i int, err error) {
				s.confirms = append(s.confirms, confirmation{a.entries[i], err})
			})
		case actSave:
			s.shell.Save(a.lease, a.save)
		case actLoad:
			s.shell.Load(a.lease, a.lane, a.limit)
		case actClose:
			s.shell.CloseReader()
		case actRelease:
			s.shell.Release(a.lease)
		case actDone:
			s.shell.Done(a.err)
		}
	}
}
