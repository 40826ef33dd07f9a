package relay

import "time"

// bug names a known mistake. The simulation brings each back and must find it.
type bug string

const (
	bugMarkBeforeConfirm bug = "mark before confirm"
	bugTwoInFlight       bug = "two in flight per key"
	bugHeldForgotten     bug = "held keys forgotten by a new owner"
	bugHoldPinsWindow    bug = "hold that pins the window"
	bugTemporaryPins     bug = "a temporary key that pins the window"
	bugBranchForgotten   bug = "branches forgotten by a new owner"
	bugMergedEarly       bug = "a branch merged before it has come to the cursor"
	bugBranchTooFar      bug = "a branch that begins at the newest position"
)

// What may happen.
type (
	event      any
	evTick     struct{}
	evStop     struct{}
	evAcquired struct {
		tenure Tenure
		err    error
	}
	evOpened  struct{ err error }
	evRenewed struct {
		sent  time.Duration
		asked bool // a person wants what happens between two tenures
		err   error
	}
	evRead struct {
		batch Batch
		err   error
	}
	evSent      struct{}
	evConfirmed struct{ list []confirmation }
	evSaved     struct {
		took time.Duration
		err  error
	}
	evRangeOpened struct{ err error }
	evRange       struct {
		batch Batch
		err   error // io.EOF: that was all
	}
	evHeld struct {
		rows []Parked
		err  error
	}
)

type confirmation struct {
	entry *entry
	err   error
}

// What may be asked for.
type (
	action     any
	actAcquire struct{}
	actOpen    struct {
		from  Position
		epoch int64
	}
	actRenew struct {
		lease Lease
		sent  time.Duration
	}
	actRead struct{ budget Budget }
	actSend struct {
		entries []*entry
		until   time.Duration // nothing may be written to the broker from then on
	}
	actSave struct {
		lease Lease
		save  Save
	}
	actLoad struct {
		lease Lease
		lane  string
		limit int
	}
	actOpenRange struct {
		topic    string
		from, to Position
	}
	actReadRange  struct{ budget Budget }
	actCloseRange struct{}
	actQuitRead   struct{} // end the Read under way
	actQuitRange  struct{} // end the range's Read under way
	actClose      struct{} // close the reader
	actRelease    struct{ lease Lease }
	actDone       struct{ err error }
)
