//go:build !linux

package demo

import "syscall"

// SIGSTOP and SIGCONT of macOS and the BSDs, as numbers because Windows, where Run refuses, has no names for them.
const pause, resume = syscall.Signal(17), syscall.Signal(19)

func childAttr() *syscall.SysProcAttr { return nil }
