package testenv

import (
	"log"
	"os"
	"slices"
)

// T is what testenv needs of a *testing.T or *testing.B. A program that is no test uses a [Main].
type T interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}

// Main is the [T] of a program. The zero value is ready; Close runs the clean-ups.
type Main struct{ cleanups []func() }

// Close stops everything that was started with m, the newest first.
func (m *Main) Close() {
	for _, f := range slices.Backward(m.cleanups) {
		f()
	}
	m.cleanups = nil
}

// Fatalf closes m and ends the program with status 1.
func (m *Main) Fatalf(format string, args ...any) {
	log.Printf(format, args...)
	m.Close()
	os.Exit(1)
}

// Skipf is Fatalf: a program has nothing to skip.
func (m *Main) Skipf(format string, args ...any) { m.Fatalf(format, args...) }

// Logf logs.
func (m *Main) Logf(format string, args ...any) { log.Printf(format, args...) }

// Cleanup keeps f for Close.
func (m *Main) Cleanup(f func()) { m.cleanups = append(m.cleanups, f) }

// Helper does nothing.
func (m *Main) Helper() {}

// Failed is always false.
func (m *Main) Failed() bool { return false }

// Name is the program's.
func (m *Main) Name() string { return os.Args[0] }
