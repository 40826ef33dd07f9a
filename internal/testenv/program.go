package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

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

// Library is Program for a file that a pattern finds.
func Library(t T, name, pattern, try string) string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err == nil && len(paths) == 0 {
		err = errors.New("no file " + pattern)
	}
	if err != nil {
		skip(t, &missing{name, err.Error(), try})
	}
	return paths[0]
}

// SmallDisk returns an empty folder on a disk in memory of so many bytes, for the user who runs PostgreSQL. The disk goes with
// the test, so its server must have been started before and ends later only if it is crashed.
func (p *Postgres) SmallDisk(t T, bytes int) string {
	t.Helper()
	install, m := findPostgres()
	if m != nil {
		skip(t, m)
	}
	r, err := theReaper()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	dir, err := os.MkdirTemp(r.disk, "disk-")
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=0700", bytes), "tmpfs", dir).CombinedOutput(); err != nil {
		skip(t, &missing{"small disk", fmt.Sprintf("mount: %v: %s", err, lastLine(out)), "the tests as root"})
	}
	t.Cleanup(func() {
		p.Crash()
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Logf("testenv: umount: %v: %s", err, out)
		}
	})
	if err := os.Chown(dir, install.uid, install.gid); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return dir
}
