package rabbitmq

import (
	"net"
	"syscall"
	"unsafe"
)

// unsent tells whether the kernel holds bytes that the other side has not acknowledged: TCP sends them as soon as the network lets it.
func unsent(raw net.Conn) bool {
	conn, ok := raw.(syscall.Conn)
	if !ok {
		return true
	}
	control, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	var n int32
	var errno syscall.Errno
	err = control.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n))) // SIOCOUTQ
	})
	return err != nil || errno != 0 || n > 0
}
