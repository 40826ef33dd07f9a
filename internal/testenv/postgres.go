package testenv

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// PostgresConfig is how a cluster of its own differs from the usual one, which does not flush (no test survives the
// machine) and has everything on that a test may want: wal_level=logical, prepared transactions, 200 connections.
type PostgresConfig struct {
	// Fsync turns fsync on, for benchmarks. Defaults to off.
	Fsync bool
	// Env are more variables of the server's environment, each "NAME=value".
	Env []string
	// Foreign makes a cluster with a system identifier of its own, which takes seconds. Defaults to a copy: all have the same one.
	Foreign bool
	// Memory puts the data on /dev/shm. Defaults to the temporary folder.
	Memory bool
	// Settings are more server settings, each "name=value"; the last of a name wins.
	Settings []string
}

// Postgres is a running PostgreSQL cluster.
type Postgres struct {
	server
	databases
}

// StartPostgres starts a cluster of its own, which ends with the test. Use it to crash it or to set it up differently;
// else [Database] is cheaper.
func StartPostgres(t T, config PostgresConfig) *Postgres {
	t.Helper()
	install, m := findPostgres()
	if m != nil {
		skip(t, m)
	}
	fill := install.copyTemplate
	if config.Foreign {
		fill = install.initdb
	}
	p, err := newPostgres(install, config, fill)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	p.own(t, p.start())
	return p
}

// Standby starts a physical standby of p, which streams from it until it is promoted. It ends with the test.
func (p *Postgres) Standby(t T) *Postgres {
	t.Helper()
	install, m := findPostgres()
	if m != nil {
		skip(t, m)
	}
	standby, err := newPostgres(install, PostgresConfig{}, func(data string) error { return install.baseBackup(p.URL(), data) })
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	standby.own(t, standby.start())
	return standby
}

// Crash ends the cluster as `pg_ctl -m immediate stop` does: no checkpoint, nothing flushed that had not been.
func (p *Postgres) Crash() {
	p.t.Helper()
	_ = p.process.stop(p.abort) // its exit status says no more than that
}

// URL names the cluster's database postgres, for its superuser.
func (p *Postgres) URL() string { return p.databases.url }

// newPostgres lays a cluster out, with the data that fill writes into a folder that it is to make.
func newPostgres(install *postgresInstall, config PostgresConfig, fill func(data string) error) (*Postgres, error) {
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
	data := filepath.Join(base, fmt.Sprintf("postgres-%d", port))
	if err := fill(data); err != nil {
		return nil, err
	}
	args := []string{"-D", data}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "port=" + strconv.Itoa(port),
		"fsync=" + strconv.FormatBool(config.Fsync),
		"dynamic_shared_memory_type=mmap", // in the data folder: a killed server leaves nothing in /dev/shm
		"wal_level=logical", "max_connections=200", "max_prepared_transactions=50",
		"max_replication_slots=20", "max_wal_senders=20",
	}, config.Settings...) {
		args = append(args, "-c", setting)
	}
	p := &Postgres{databases: databases{
		url:  fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port),
		psql: filepath.Join(install.bin, "psql"),
	}}
	p.server = server{
		name: "postgres",
		command: func() *exec.Cmd {
			cmd := install.command(data, "postgres", args...)
			cmd.Env = append(cmd.Env, config.Env...)
			return cmd
		},
		ready: func(child *Process) bool { return postmasterReady(data, child.Pid()) },
		quit:  syscall.SIGINT, // a "fast" shutdown: waits for no client
		abort: syscall.SIGQUIT,
	}
	return p, nil
}

// shared is this process's cluster for [Database]; the reaper ends it.
var shared = sync.OnceValues(func() (*Postgres, error) {
	install, m := findPostgres()
	if m != nil {
		return nil, m
	}
	p, err := newPostgres(install, PostgresConfig{}, install.copyTemplate)
	if err != nil {
		return nil, err
	}
	if err := p.start(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, strings.TrimSpace(p.Log()))
	}
	return p, nil
})
