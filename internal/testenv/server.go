package testenv

import (
	"os/exec"
	"syscall"
	"time"
)

// server is what PostgreSQL and NATS have in common. Its methods belong to the test's goroutine, except Kill, Pause and Continue,
// which any one goroutine may call.
type server struct {
	t       T
	name    string
	command func() *exec.Cmd
	ready   func(*Process) bool
	quit    syscall.Signal // asks for a graceful end
	abort   syscall.Signal // ends it at once, without leaving anything behind in the system
	logPath string
	process *Process
	paused  []int // the server's own children while it is frozen
}

func (s *server) start() (err error) {
	if s.logPath == "" {
		if s.logPath, err = logFile(s.name); err != nil {
			return err
		}
	}
	p, err := start(s.command(), s.logPath)
	if err != nil {
		return err
	}
	s.process = p
	return p.until(func() bool { return s.ready(p) })
}

// own binds s to t: it ends with it, and its log is shown if t fails.
func (s *server) own(t T, err error) {
	t.Helper()
	s.t = t
	t.Cleanup(func() {
		if s.process != nil {
			s.Continue()
			_ = s.process.stop(s.abort) // its exit status says no more than that
		}
		showLog(t, s.name, s.logPath, 0)
	})
	if err != nil {
		t.Fatalf("testenv: start %s: %v", s.name, err)
	}
}

// Stop ends the server gracefully. Its data stays for Restart.
func (s *server) Stop() {
	s.t.Helper()
	if err := s.process.stop(s.quit); err != nil {
		s.t.Fatalf("testenv: stop %s: %v", s.name, err)
	}
}

// Kill ends the server and all its processes with SIGKILL. Its data stays as it was, for Restart.
func (s *server) Kill() {
	s.process.Pause() // so that it starts no other and tidies nothing up
	kids := children(s.process.Pid())
	for _, pid := range kids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
	}
	s.process.Kill()
	for _, pid := range kids {
		for alive(pid) {
			time.Sleep(time.Millisecond) // a killed child of another parent has no other signal
		}
	}
}

// Restart starts the server again on the same port and data, after Stop or Kill, or stops it first.
func (s *server) Restart() {
	s.t.Helper()
	select {
	case <-s.process.Done():
	default:
		s.Stop()
	}
	if err := s.start(); err != nil {
		s.t.Fatalf("testenv: restart %s: %v", s.name, err)
	}
}

// Pause freezes the server and all its processes: connections stay open and nothing answers.
func (s *server) Pause() {
	r, err := theReaper()
	if err != nil {
		panic(err) // it started this very server
	}
	s.process.Pause()
	s.paused = children(s.process.Pid())
	for _, pid := range s.paused {
		r.born(pid) // frozen, it would not notice that the server has gone
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// Continue ends a Pause. Without one it does nothing.
func (s *server) Continue() {
	r, err := theReaper()
	if err != nil {
		panic(err)
	}
	for _, pid := range s.paused {
		_ = syscall.Kill(pid, syscall.SIGCONT)
		r.dead(pid)
	}
	s.paused = nil
	s.process.Continue()
}

// Pid is the process number of the server, which changes with Restart.
func (s *server) Pid() int { return s.process.Pid() }

// Log is all that the server has logged, restarts included.
func (s *server) Log() string { return readLog(s.logPath, 0) }
