package sim

import "slices"

// Bug names a known mistake that a schedule brings back, to see that the checks find it.
type Bug string

// The known mistakes.
const (
	// These live in the engine's core, which knows them by the same names.
	MarkBeforeConfirm Bug = "mark before confirm"
	TwoInFlight       Bug = "two in flight per key"
	HeldForgotten     Bug = "held keys forgotten by a new owner"
	HoldPinsWindow    Bug = "hold that pins the window"
	TemporaryPins     Bug = "a temporary key that pins the window"
	BranchForgotten   Bug = "branches forgotten by a new owner"
	MergedEarly       Bug = "a branch merged before it has come to the cursor"
	BranchTooFar      Bug = "a branch that begins at the newest position"

	// These are other readers, sessions, stores and sinks.
	IDAboveLast       Bug = "id > last"
	XidOrder          Bug = "(xid, id) order"
	CursorKept        Bug = "cursor kept across a database crash"
	SentBeforeDurable Bug = "sent before durable"
	MovedWhenRead     Bug = "S0 moved when a span is read but not confirmed"
	GuardBySubquery   Bug = "epoch guard by subquery"
	NoEpoch           Bug = "no epoch in the cursor write"
	OutageCounts      Bug = "outage counted as attempt"
	ReadTwice         Bug = "a page read twice"
	StopWithoutSave   Bug = "a clean stop that does not save"
	TombstoneLost     Bug = "a tombstone read as an empty body"
	BatchNotOrdered   Bug = "a batch that stores on behind a failure"
	NeverFenced       Bug = "a sink that is not told of a takeover"
)

// Bugs are all of them.
var Bugs = slices.Concat(
	[]Bug{MarkBeforeConfirm, TwoInFlight, HeldForgotten, HoldPinsWindow, TemporaryPins, BranchForgotten, MergedEarly, BranchTooFar},
	[]Bug{IDAboveLast, XidOrder, CursorKept, SentBeforeDurable, MovedWhenRead, GuardBySubquery, NoEpoch},
	[]Bug{OutageCounts, ReadTwice, StopWithoutSave, TombstoneLost, BatchNotOrdered, NeverFenced},
)
