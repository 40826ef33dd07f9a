package testenv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// Ports lie below the kernel's ephemeral range, so that no outgoing connection takes one while its server is down, and a
// lock file keeps other test processes away from it until this process ends.
const firstPort, portCount = 20000, 12000

var portLocks struct {
	sync.Mutex
	files []*os.File // only kept open
}

func freePort() (int, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("waybill-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	for range 200 {
		port := firstPort + rand.IntN(portCount)
		lock, err := lockFile(filepath.Join(dir, fmt.Sprint(port)), false)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			lock.Close()
			continue
		}
		portLocks.Lock()
		portLocks.files = append(portLocks.files, lock)
		portLocks.Unlock()
		return port, l.Close()
	}
	return 0, errors.New("testenv: no free loopback port in 200 tries")
}
