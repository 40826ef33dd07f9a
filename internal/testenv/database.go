package testenv

import (
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
)

// databases makes databases on a cluster, through psql: the root module has no driver.
type databases struct {
	url  string
	psql string
}

// Database makes a fresh database on the cluster that the tests of this process share, runs the given SQL in it, and
// returns its URL. It is dropped when the test ends.
func Database(t T, sql ...string) string {
	t.Helper()
	if given := os.Getenv("WAYBILL_TEST_POSTGRES_URL"); given != "" {
		d, m := givenDatabases(given)
		if m != nil {
			skip(t, m)
		}
		return d.Database(t, sql...)
	}
	p, err := shared()
	mustHave(t, "start the shared postgres: ", err)
	p.showSince(t)
	return p.Database(t, sql...)
}

// NeedPostgres skips the test, by name, when [Database] would.
func NeedPostgres(t T) {
	t.Helper()
	var m *missing
	if given := os.Getenv("WAYBILL_TEST_POSTGRES_URL"); given != "" {
		_, m = givenDatabases(given)
	} else {
		_, m = findPostgres()
	}
	if m != nil {
		skip(t, m)
	}
}

func givenDatabases(url string) (*databases, *missing) {
	if install, m := findPostgres(); m == nil {
		return &databases{url, install.bin + "/psql"}, nil
	}
	psql, err := exec.LookPath("psql")
	if err != nil {
		return nil, &missing{"postgres", "WAYBILL_TEST_POSTGRES_URL needs the program psql", "sudo apt-get install -y postgresql-client"}
	}
	return &databases{url, psql}, nil
}

// Database makes a fresh database, runs the given SQL in it, and returns its URL. It is dropped when the test ends.
func (d *databases) Database(t T, sql ...string) string {
	t.Helper()
	name := "waybill_" + strings.ToLower(rand.Text()[:12])
	if err := d.run(d.url, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		t.Fatalf("testenv: make a database: %v", err)
	}
	t.Cleanup(func() {
		if os.Getenv("WAYBILL_TEST_POSTGRES_URL") == "" {
			return // the whole cluster goes
		}
		if err := d.run(d.url, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Logf("testenv: drop database %s: %v", name, err)
		}
	})
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatalf("testenv: the server's URL: %v", err)
	}
	u.Path = "/" + name
	if len(sql) > 0 {
		if err := d.run(u.String(), strings.Join(sql, ";\n")); err != nil {
			t.Fatalf("testenv: set the database up: %v", err)
		}
	}
	return u.String()
}

// Exec runs SQL in the cluster's database postgres.
func (d *databases) Exec(t T, sql string) {
	t.Helper()
	if err := d.run(d.url, sql); err != nil {
		t.Fatalf("testenv: %v", err)
	}
}

func (d *databases) run(url, sql string) error {
	cmd := exec.Command(d.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", "-")
	cmd.Env, cmd.Stdin = withoutPG(os.Environ()), strings.NewReader(sql+";\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("psql: %w\n%s", err, out)
	}
	return nil
}
