package demo

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// process is a child that can be killed and started again under the same name.
type process struct {
	name   string
	exe    string
	args   []string
	files  []*os.File  // inherited, from descriptor 3 on
	failed func(error) // told when the child ends though nobody ended it

	cmd    *exec.Cmd
	ending chan struct{} // closed before somebody ends the child
	done   chan struct{} // closed when it has ended
}

func (p *process) start() error {
	cmd := exec.Command(p.exe, append([]string{childCommand}, p.args...)...)
	cmd.SysProcAttr = childAttr()
	cmd.ExtraFiles = p.files
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	// Never written to. The child ends when the pipe breaks, that is when the demo is gone, however it went.
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the %s: %w", p.name, err)
	}
	ending, done := make(chan struct{}), make(chan struct{})
	p.cmd, p.ending, p.done = cmd, ending, done
	go func() {
		defer close(done)
		err := cmd.Wait()
		select {
		case <-ending:
		default:
			p.failed(fmt.Errorf("the %s ended by itself (%v): %s", p.name, err, bytes.TrimSpace(stderr.Bytes())))
		}
	}()
	return nil
}

// kill is kill -9 of all of them at one moment; it returns when they are gone.
func kill(processes ...*process) {
	for _, p := range processes {
		p.end(syscall.SIGKILL)
	}
	for _, p := range processes {
		p.wait()
	}
}

// stop asks the child to end in good order and kills it when it takes longer than the limit.
func (p *process) stop(limit time.Duration) {
	p.end(syscall.SIGTERM)
	child := p.cmd.Process
	defer time.AfterFunc(limit, func() { child.Kill() }).Stop()
	p.wait()
}

func (p *process) end(s os.Signal) {
	if p == nil || p.cmd == nil {
		return
	}
	select {
	case <-p.ending:
	default:
		close(p.ending)
	}
	p.cmd.Process.Signal(s)
}

func (p *process) wait() {
	if p != nil && p.cmd != nil {
		<-p.done
	}
}

func (p *process) signal(s os.Signal) { p.cmd.Process.Signal(s) }
