package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// NATSConfig is how a NATS server of its own differs from the usual one.
type NATSConfig struct {
	// Memory puts JetStream's files on /dev/shm. Defaults to the temporary folder.
	Memory bool
	// Settings are more lines of the server's configuration file, such as "max_payload: 4096".
	Settings []string
	// JetStream are more lines of its jetstream block, such as "sync_interval: always".
	JetStream []string
}

// NATS is a running NATS server with file-backed JetStream.
type NATS struct {
	server
	url string
}

// URL is where clients connect. It stays the same through Restart.
func (n *NATS) URL() string { return n.url }

// StartNATS starts a NATS server of its own, which ends with the test.
func StartNATS(t T, config NATSConfig) *NATS {
	t.Helper()
	n, err := newNATS(config)
	mustHave(t, "", err)
	n.own(t, n.start())
	return n
}

// NATSURL is the URL of a NATS server with JetStream that the tests of this process share: use stream and subject names of
// your own.
func NATSURL(t T) string {
	t.Helper()
	if given := os.Getenv("WAYBILL_TEST_NATS_URL"); given != "" {
		return given
	}
	n, err := sharedNATS()
	mustHave(t, "start the shared nats: ", err)
	n.showSince(t)
	return n.url
}

// NeedNATS skips the test, by name, when [NATSURL] would.
func NeedNATS(t T) {
	t.Helper()
	if os.Getenv("WAYBILL_TEST_NATS_URL") != "" {
		return
	}
	_, err := natsServer()
	mustHave(t, "", err)
}

var sharedNATS = sync.OnceValues(func() (*NATS, error) {
	n, err := newNATS(NATSConfig{})
	if err != nil {
		return nil, err
	}
	if err := n.start(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, n.Log())
	}
	return n, nil
})

func newNATS(config NATSConfig) (*NATS, error) {
	program, err := natsServer()
	if err != nil {
		return nil, err
	}
	r, err := theReaper()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	base := r.disk
	if config.Memory {
		base = r.shm
	}
	dir := filepath.Join(base, fmt.Sprintf("nats-%d", port))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "server.conf")
	text := fmt.Sprintf("listen: \"127.0.0.1:%d\"\n%s\njetstream {\nstore_dir: %q\n%s\n}\n",
		port, strings.Join(config.Settings, "\n"), dir, strings.Join(config.JetStream, "\n"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	n := &NATS{url: fmt.Sprintf("nats://127.0.0.1:%d", port)}
	n.server = server{
		name:    "nats",
		command: func() *exec.Cmd { return exec.Command(program, "-c", conf) },
		ready:   func(child *Process) bool { return strings.Contains(child.Output(), "Server is ready") },
		quit:    syscall.SIGTERM,
		abort:   syscall.SIGKILL,
	}
	return n, nil
}
