package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const installPostgres = "sudo apt-get install -y postgresql, or set WAYBILL_TEST_POSTGRES_URL"

// postgresInstall is where the programs are and who runs them: PostgreSQL refuses to run as root.
type postgresInstall struct {
	bin      string
	version  string
	uid, gid int // -1: as ourselves
}

func findPostgres() (*postgresInstall, *missing) {
	none := func(format string, args ...any) (*postgresInstall, *missing) {
		return nil, &missing{"postgres", fmt.Sprintf(format, args...), installPostgres}
	}
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(bins, func(a, b string) int { return major(b) - major(a) })
	if path, err := exec.LookPath("postgres"); err == nil {
		bins = append(bins, path)
	}
	if len(bins) == 0 {
		return none("no program postgres in /usr/lib/postgresql/*/bin or PATH")
	}
	install := &postgresInstall{bin: filepath.Dir(bins[0]), uid: -1, gid: -1}
	out, err := exec.Command(bins[0], "--version").Output()
	if err != nil {
		return none("%s --version: %v", bins[0], err)
	}
	install.version = strings.Fields(string(out))[2]
	if os.Getuid() != 0 {
		return install, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return none("root needs a user postgres to run it: %v", err)
	}
	if install.uid, err = strconv.Atoi(u.Uid); err != nil {
		return none("user postgres: %v", err)
	}
	if install.gid, err = strconv.Atoi(u.Gid); err != nil {
		return none("user postgres: %v", err)
	}
	return install, nil
}

func major(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // a name that is no number sorts last
	return n
}

func (i *postgresInstall) command(dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(i.bin, program), args...)
	cmd.Dir, cmd.Env = dir, withoutPG(os.Environ())
	if i.uid >= 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(i.uid), Gid: uint32(i.gid)}}
	}
	return cmd
}

// template is an empty cluster, made once a machine because initdb takes seconds, copied for each server.
func (i *postgresInstall) template() (string, error) {
	return cached("postgres-"+i.version, func(path string) error {
		r, err := theReaper()
		if err != nil {
			return err
		}
		data := filepath.Join(r.disk, "initdb") // another user runs it, who cannot enter our cache
		if err := i.initdb(data); err != nil {
			return err
		}
		return copyTree(data, path, -1, -1)
	})
}

// folder makes an empty folder for the user who runs PostgreSQL.
func (i *postgresInstall) folder(data string) error {
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	return os.Chown(data, i.uid, i.gid)
}

func (i *postgresInstall) initdb(data string) error {
	if err := i.folder(data); err != nil {
		return err
	}
	out, err := i.command(data, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N", "--no-instructions").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (i *postgresInstall) copyTemplate(data string) error {
	template, err := i.template()
	if err != nil {
		return err
	}
	return copyTree(template, data, i.uid, i.gid)
}

// baseBackup copies the cluster at url and sets the copy up as its standby.
func (i *postgresInstall) baseBackup(url, data string) error {
	if err := i.folder(data); err != nil {
		return err
	}
	out, err := i.command(data, "pg_basebackup", "-d", url, "-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	return nil
}

// postmasterReady reads what pg_ctl reads: line 1 of postmaster.pid is the process, line 8 its state.
func postmasterReady(data string, pid int) bool {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(b), "\n")
	return len(lines) >= 8 && lines[0] == strconv.Itoa(pid) && slices.Contains([]string{"ready", "standby"}, strings.TrimSpace(lines[7]))
}

// withoutPG drops the variables by which a person's settings would reach PostgreSQL's programs.
func withoutPG(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "PG") })
}
