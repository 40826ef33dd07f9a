// Package sim is a small world in which the relay engine lives through thousands of bad days a second: a database that
// crashes and forgets its unflushed tail, a broker that loses answers, processes that die or freeze between any two actions,
// a network that cuts. Nothing in it is real, least of all time, and everything follows from one number, the seed.
//
// The code under test is the real one: the engine's core (given as a [NewCore], because it is not exported) and the
// snapshot-difference reader of internal/snapshot. The world around them is this package:
//
//	run.go      a schedule from its beginning to its end; plan.go: what its seed draws
//	world.go    virtual time; heap.go: events in order; task.go: code that waits in virtual time, written as if it blocked
//	db.go       the database, its log and its crash; tx.go: transactions and locks; tables.go: lease, cursor, parked
//	conn.go     a client's talk with the database; session.go and store.go: what a relay does over it
//	proc.go     a process that runs a relay; shell.go: what it does for the core
//	writer.go   services that publish; broker.go: where the messages go
//	faults.go   what goes wrong, and how it heals
//	check.go    what must hold whatever went wrong
//	bugs.go     known mistakes, which the checks must find: a check that cannot fail proves nothing; readers.go: some of them
//	shrink.go   leaves out what a failure does not need; trace.go: the story of a schedule, and its hash
//
// A schedule runs in four parts: faults; all healed but what the broker refuses for good, and everything else must flow;
// the broker accepts all, and everything must drain; a clean stop, after which a new owner must find nothing to do.
//
// Only tests import this package.
package sim
