package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience bounds every wait for a child: longer than any healthy one takes on a loaded machine.
const patience = 60 * time.Second

// Process is a child process. Its methods may be called from any goroutine.
type Process struct {
	cmd     *exec.Cmd
	logPath string
	from    int64 // where this process's part of the log begins
	done    chan struct{}
	err     error
}

// Start starts cmd, whose output goes to a file that is shown when the test fails, and kills it when the test ends.
func Start(t T, cmd *exec.Cmd) *Process {
	t.Helper()
	logPath, err := logFile(filepath.Base(cmd.Path))
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	p, err := start(cmd, logPath)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() {
		p.Kill()
		showLog(t, filepath.Base(cmd.Path), logPath, 0)
	})
	return p
}

func start(cmd *exec.Cmd, logPath string) (*Process, error) {
	r, err := theReaper()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // an interrupt at the terminal is ours to pass on
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	r.born(cmd.Process.Pid)
	p := &Process{cmd: cmd, logPath: logPath, from: info.Size(), done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		r.dead(cmd.Process.Pid)
		close(p.done)
	}()
	return p, nil
}

// Pid is the process number.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Kill ends the process with SIGKILL and waits until it is gone. Killing a process that has ended does nothing.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the process to end with SIGTERM and returns what Wait does. After a minute it kills it.
func (p *Process) Stop() error { return p.stop(syscall.SIGTERM) }

func (p *Process) stop(sig syscall.Signal) error {
	p.Signal(sig)
	p.Signal(syscall.SIGCONT)
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		p.Kill()
		return fmt.Errorf("%s did not end within %v of %v", p.cmd.Path, patience, sig)
	}
}

// Pause stops the process with SIGSTOP, as a full machine or a moved virtual machine would.
func (p *Process) Pause() { p.Signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (p *Process) Continue() { p.Signal(syscall.SIGCONT) }

// Signal sends sig. A process that has ended gets nothing.
func (p *Process) Signal(sig syscall.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		panic(fmt.Sprintf("testenv: signal %v to our own child %d: %v", sig, p.Pid(), err))
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process and returns nil when its exit status was 0, else an [*exec.ExitError].
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Output is all that the process has written so far, standard output and error together.
func (p *Process) Output() string {
	return readLog(p.logPath, p.from)
}

// WaitOutput waits until the output contains text, and fails the test when the process ends before, or in a minute.
func (p *Process) WaitOutput(t T, text string) {
	t.Helper()
	err := p.until(func() bool { return strings.Contains(p.Output(), text) })
	if err != nil {
		t.Fatalf("testenv: wait for %q in the output: %v", text, err)
	}
}

func (p *Process) until(ready func() bool) error {
	deadline := time.Now().Add(patience)
	for !ready() {
		select {
		case <-p.done:
			if ready() {
				return nil
			}
			return fmt.Errorf("%s ended: %v", p.cmd.Path, p.err)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v", p.cmd.Path, patience)
		}
	}
	return nil
}

// children lists the child processes of pid, from Linux's /proc. Elsewhere it knows none.
func children(pid int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		// "pid (name) state ppid ...": the name may hold anything, so look behind its last parenthesis.
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(pid) {
			continue
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// alive tells whether a process that is not our child still runs; one that waits to be buried does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.HasPrefix(string(b[strings.LastIndexByte(string(b), ')')+1:]), " Z")
}
