package demo

import "syscall"

const pause, resume = syscall.SIGSTOP, syscall.SIGCONT

// The kernel kills a child whose parent is gone, even a paused one, which would not notice its broken pipe.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
