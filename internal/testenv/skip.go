package testenv

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// missing is why a server cannot be had, and the line to type that mends it.
type missing struct{ name, reason, try string }

func (m *missing) Error() string {
	return fmt.Sprintf("testenv: no %s: %s. Try: %s", m.name, m.reason, m.try)
}

// skip ends the test: as skipped, by name, or as failed when the environment says that m.name must be there.
func skip(t T, m *missing) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("WAYBILL_TEST_REQUIRE"), ","), m.name) {
		t.Fatalf("%v (WAYBILL_TEST_REQUIRE says that it must not be skipped)", m)
	}
	if path := os.Getenv("WAYBILL_TEST_SKIPPED"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = fmt.Fprintf(f, "%s (%s)\n", m.name, m.try)
			f.Close()
		}
		if err != nil {
			t.Fatalf("testenv: note that %s was skipped: %v", m.name, err)
		}
	}
	t.Skipf("%v", m)
}

// mustHave ends the test when err is not nil: as skip does, if a server cannot be had, and else as failed while doing something.
func mustHave(t T, doing string, err error) {
	t.Helper()
	if m := (*missing)(nil); errors.As(err, &m) {
		skip(t, m)
	}
	if err != nil {
		t.Fatalf("testenv: %s%v", doing, err)
	}
}
