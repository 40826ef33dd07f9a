// Package waybilltest shows that a sink, a source or a store keeps its contract, in this repository or in yours:
//
//	func TestMySink(t *testing.T)   { waybilltest.TestSink(t, newSinkHarness) }
//	func TestMySource(t *testing.T) { waybilltest.TestSource(t, newSourceHarness) }
//	func TestMyStore(t *testing.T)  { waybilltest.TestStore(t, newStoreHarness) }
//
// A harness says what its system cannot do, and the suite skips those cases by name.
//
// For tests of what uses a relay there are a [Log] and a [Broker] in memory. They pass the same suites and need no real time,
// so they work in a bubble of testing/synctest. Only _test.go files may import this package.
package waybilltest
