package testenv

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// RabbitMQConfig is how a RabbitMQ server of its own differs from the usual one.
type RabbitMQConfig struct {
	// Settings are more lines of rabbitmq.conf, such as "vm_memory_high_watermark.absolute = 1GB". In them $DIR is the folder
	// of Files, and $TLS the address that [RabbitMQ.TLSURL] names.
	Settings []string
	// Plugins are enabled besides rabbitmq_management.
	Plugins []string
	// Files are made for the server before it starts: name to content.
	Files map[string]string
}

// RabbitMQ is a running RabbitMQ server. A killed one keeps its messages for Restart.
type RabbitMQ struct {
	server
	rabbit
	install *rabbitInstall
	env     []string
	tlsPort int
}

// StartRabbitMQ starts a server of its own, which ends with the test: seconds. Use it to crash it or to set it up
// differently; else [RabbitMQVhost] is cheaper.
func StartRabbitMQ(t T, config RabbitMQConfig) *RabbitMQ {
	t.Helper()
	r, err := newRabbitMQ(config)
	mustHave(t, "", err)
	r.own(t, r.start())
	return r
}

// TLSURL is the URL of the port that a setting "listeners.ssl.1 = $TLS" opens, for the host name localhost.
func (r *RabbitMQ) TLSURL() string {
	return fmt.Sprintf("amqps://guest:guest@localhost:%d/", r.tlsPort)
}

// Ctl runs rabbitmqctl with args and returns what it prints.
func (r *RabbitMQ) Ctl(t T, args ...string) string {
	t.Helper()
	cmd := r.install.command(r.env, "rabbitmqctl", args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("testenv: rabbitmqctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

var sharedRabbitMQ = sync.OnceValues(func() (*RabbitMQ, error) {
	r, err := newRabbitMQ(RabbitMQConfig{})
	if err != nil {
		return nil, err
	}
	if err := r.start(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, r.Log())
	}
	return r, nil
})

// rabbitInstall is where the programs are and who runs them: the server's user when we are root, else ourselves.
type rabbitInstall struct {
	bin      string
	uid, gid int
}

func findRabbitMQ() (*rabbitInstall, *missing) {
	install := &rabbitInstall{bin: "/usr/lib/rabbitmq/bin", uid: -1, gid: -1}
	none := func(reason string) (*rabbitInstall, *missing) {
		return nil, &missing{"rabbitmq", reason, "sudo apt-get install -y rabbitmq-server, or set WAYBILL_TEST_RABBITMQ_URL"}
	}
	// Not the programs in PATH: Debian's are wrappers that bring a HOME, and so a cookie, of their own.
	if _, err := os.Stat(filepath.Join(install.bin, "rabbitmq-server")); err != nil {
		return none(err.Error())
	}
	if os.Getuid() != 0 {
		return install, nil
	}
	u, err := user.Lookup("rabbitmq")
	if err == nil {
		install.uid, err = strconv.Atoi(u.Uid)
	}
	if err == nil {
		install.gid, err = strconv.Atoi(u.Gid)
	}
	if err != nil {
		return none(err.Error())
	}
	return install, nil
}

func (i *rabbitInstall) command(env []string, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(i.bin, program), args...)
	cmd.Dir, cmd.Env = "/", env
	if i.uid >= 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(i.uid), Gid: uint32(i.gid)}}
	}
	return cmd
}

// portMapper is the epmd of this process, which all its servers share. A server would start one by itself that outlives it.
var portMapper = sync.OnceValues(func() (int, error) {
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	path, err := logFile("epmd")
	if err != nil {
		return 0, err
	}
	cmd := exec.Command("epmd", "-port", fmt.Sprint(port), "-address", "127.0.0.1")
	p, err := start(cmd, path)
	if err != nil {
		return 0, err
	}
	return port, p.until(func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
})

func newRabbitMQ(config RabbitMQConfig) (*RabbitMQ, error) {
	install, m := findRabbitMQ()
	if m != nil {
		return nil, m
	}
	r, err := theReaper()
	if err != nil {
		return nil, err
	}
	epmd, err := portMapper()
	if err != nil {
		return nil, fmt.Errorf("start epmd: %w", err)
	}
	var ports [4]int // clients, TLS, management, other nodes
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(r.disk, fmt.Sprintf("rabbitmq-%d", ports[0]))
	settings := fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = %d\n%s\n",
		ports[0], ports[2], strings.Join(config.Settings, "\n"))
	settings = strings.NewReplacer("$DIR", dir, "$TLS", fmt.Sprintf("127.0.0.1:%d", ports[1])).Replace(settings)
	files := map[string]string{
		"rabbitmq.conf":   settings,
		"enabled_plugins": "[" + strings.Join(append([]string{"rabbitmq_management"}, config.Plugins...), ",") + "].\n",
	}
	for name, text := range config.Files {
		files[name] = text
	}
	if err := install.layOut(dir, files); err != nil {
		return nil, err
	}
	b := &RabbitMQ{install: install, tlsPort: ports[1], rabbit: rabbit{
		url:        fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", ports[0]),
		management: fmt.Sprintf("http://guest:guest@127.0.0.1:%d", ports[2]),
	}}
	b.env = append(withoutRabbit(os.Environ()),
		"HOME="+dir, "RABBITMQ_NODENAME=waybill"+fmt.Sprint(ports[0])+"@localhost", "RABBITMQ_MNESIA_BASE="+dir+"/data", "RABBITMQ_LOGS=-",
		"RABBITMQ_CONFIG_FILE="+dir+"/rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE="+dir+"/enabled_plugins", "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_DIST_PORT="+fmt.Sprint(ports[3]), "ERL_EPMD_PORT="+fmt.Sprint(epmd), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none", // idle schedulers do not spin
		"RUNNING_UNDER_SYSTEMD=true",                     // the script then becomes the Erlang machine, and our child is the server
	)
	b.server = server{
		name:    "rabbitmq",
		command: func() *exec.Cmd { return install.command(b.env, "rabbitmq-server") },
		ready:   func(child *Process) bool { return strings.Contains(child.Output(), "Server startup complete") },
		quit:    syscall.SIGTERM,
		abort:   syscall.SIGKILL, // its helpers notice
	}
	return b, nil
}

// layOut makes a server's folder.
func (i *rabbitInstall) layOut(dir string, files map[string]string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
		if err := os.Chown(path, i.uid, i.gid); err != nil {
			return err
		}
	}
	return os.Chown(dir, i.uid, i.gid)
}

func withoutRabbit(env []string) (kept []string) {
	for _, v := range env {
		if !strings.HasPrefix(v, "RABBITMQ_") && !strings.HasPrefix(v, "ERL_") && !strings.HasPrefix(v, "HOME=") {
			kept = append(kept, v)
		}
	}
	return kept
}
