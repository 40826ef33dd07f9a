package takeover

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// builtBinary is the command, built once a test process.
var builtBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "waybill-takeover-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "waybill")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir = filepath.Join("..", "..", "cmd", "waybill")
	if out, err := cmd.CombinedOutput(); err != nil {
		return path, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, _ := builtBinary(); path != "" {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// per is the size of a loop: short in every test run, long when WAYBILL_LONG is set.
func per(short, long int) int {
	if os.Getenv("WAYBILL_LONG") != "" {
		return long
	}
	return short
}

// parallel lets tests run at once, but not where figures are to be read.
func parallel(t *testing.T) {
	if per(0, 1) == 0 {
		t.Parallel()
	}
}

// within polls a condition; it fails the test when the condition does not come true in time.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	const limit = time.Minute
	for end := time.Now().Add(limit); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}
