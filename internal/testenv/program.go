package testenv

import "os/exec"

// Program returns the path of a program that a test needs besides the servers, and skips the test, by name, without it.
// try is the line that installs it.
func Program(t T, name, try string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		skip(t, &missing{name, err.Error(), try})
	}
	return path
}
