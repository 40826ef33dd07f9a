package testenv

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// The reaper outlives this process by a moment. It hears of every child on its standard input, and when that ends, because
// this process ended in whatever way, it ends the children that are left (QUIT is PostgreSQL's immediate shutdown, which
// frees shared memory; CONT, because a stopped process does not hear it) and removes our folders.
const reaperScript = `
trap "" INT TERM HUP
live=" "
while read -r op pid; do
	case $op in
	+) live="$live$pid " ;;
	-) live="${live%% $pid *} ${live#* $pid }" ;;
	esac
done
kill -QUIT $live
kill -CONT $live
tries=50
for pid in $live; do
	while [ $tries -gt 0 ] && kill -0 $pid; do tries=$((tries - 1)); sleep 0.1; done
done
kill -KILL $live
rm -rf -- "$@"
`

type reaper struct {
	mu    sync.Mutex
	input io.Writer
	disk  string // a folder that the users of all servers may enter
	shm   string // the same in memory; equal to disk where there is no such place
}

var theReaper = sync.OnceValues(func() (*reaper, error) {
	disk, err := folder(os.TempDir())
	if err != nil {
		return nil, err
	}
	shm, err := folder("/dev/shm")
	if err != nil {
		shm = disk
	}
	cmd := exec.Command("sh", "-c", reaperScript, "reaper", disk, shm)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &reaper{input: input, disk: disk, shm: shm}, cmd.Start()
})

func folder(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "waybill-")
	if err != nil {
		return "", err
	}
	// Not the default 0700: PostgreSQL runs as another user when we are root.
	return filepath.Clean(dir), os.Chmod(dir, 0o711)
}

func (r *reaper) born(pid int) { r.tell('+', pid) }
func (r *reaper) dead(pid int) { r.tell('-', pid) }

func (r *reaper) tell(op rune, pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.input, "%c %d\n", op, pid) // a dead reaper costs a left-over folder, not a test
}
