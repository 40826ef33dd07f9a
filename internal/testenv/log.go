package testenv

import (
	"os"
	"strings"
)

const shownLines = 60

func logFile(name string) (string, error) {
	r, err := theReaper()
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(r.disk, name+"-*.log")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// readLog returns a log from offset on. A log that cannot be read says so itself: it is only for people.
func readLog(path string, offset int64) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[min(offset, int64(len(b))):])
}

// showSince shows what a shared server logs from now on, if t fails.
func (s *server) showSince(t T) {
	from := int64(len(s.Log()))
	t.Cleanup(func() { showLog(t, s.name, s.logPath, from) })
}

// showLog gives the test's reader the end of a log, from offset on, when the test has failed.
func showLog(t T, name, path string, offset int64) {
	t.Helper()
	if !t.Failed() {
		return
	}
	lines := strings.Split(strings.TrimSpace(readLog(path, offset)), "\n")
	t.Logf("the last lines of %s:\n%s", name, strings.Join(lines[max(0, len(lines)-shownLines):], "\n"))
}
