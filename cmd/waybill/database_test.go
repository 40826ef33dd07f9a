package main

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybillhq/waybill/cmd/waybill/internal/broker"
	"github.com/waybillhq/waybill/dialect"
)

func TestASourceIsKnownByItsURL(t *testing.T) {
	// Not parallel: PGSSLMODE of the machine must not decide.
	t.Setenv("PGSSLMODE", "")
	for _, test := range []struct {
		text string
		want address // the zero value is an error
	}{
		{"postgres://app@localhost/db", address{dialect.Postgres, "postgres://app@localhost/db", ""}},
		{"postgresql://app@127.0.0.1:5432/db", address{dialect.Postgres, "postgresql://app@127.0.0.1:5432/db", ""}},
		{"postgres:///db?host=/run/postgresql", address{dialect.Postgres, "postgres:///db?host=/run/postgresql", ""}},
		{"postgres://app@[::1]/db", address{dialect.Postgres, "postgres://app@[::1]/db", ""}},
		{"postgres://app@db/db?sslmode=disable", address{dialect.Postgres, "postgres://app@db/db?sslmode=disable", ""}},
		{"postgres://app@db/db", address{dialect.Postgres, "postgres://app@db/db?sslmode=verify-full", ""}},
		{"postgres:///db?host=db", address{dialect.Postgres, "postgres:///db?host=db&sslmode=verify-full", ""}},
		{"postgres://a@h1:1,h2:2/db?x=y", address{dialect.Postgres, "postgres://a@h1:1,h2:2/db?sslmode=verify-full&x=y", ""}},
		{"postgres://app:a@b@db/db", address{}},
		{"postgres://app:a%40b@localhost/db?application_name=x@y", address{dialect.Postgres, "postgres://app:a%40b@localhost/db?application_name=x@y", ""}},
		{"sqlite:app.db", address{dialect.SQLite, "", "app.db"}},
		{"sqlite://data/app", address{dialect.SQLite, "", "data/app"}},
		{"sqlite:///var/lib/app.db", address{dialect.SQLite, "", "/var/lib/app.db"}},
		{"data/app.sqlite3", address{dialect.SQLite, "", "data/app.sqlite3"}},
		{"app.db", address{dialect.SQLite, "", "app.db"}},
		{"sqlite:", address{}},
		{"sqlite:app.db?mode=ro", address{}},
		{"mysql://h/app.db", address{}},
		{"app", address{}},
		{"", address{}},
	} {
		got, err := parseSource(test.text)
		if err != nil {
			got = address{}
		}
		if got != test.want || (err == nil) != (test.want != address{}) {
			t.Errorf("%s: got %+v, %v", test.text, got, err)
		}
	}
}

func TestAnOddFileNameIsOpenedAsItIs(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for _, name := range []string{"a b.db", "50%25.db", "ü+&=;.db"} {
		s.must("migrate", "up", "--source", name)
		s.must("migrate", "validate", "--source", name)
		if _, err := os.Stat(filepath.Join(s.dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestOptionsOfTheBrokerInTheProcess(t *testing.T) {
	t.Parallel()
	for text, valid := range map[string]bool{
		"dir=x": true, "dir=x&listen=127.0.0.1:0": true, "dir=x&sync=always": true, "dir=x&sync=1s": true,
		"": false, "listen=127.0.0.1:0": false, "dir=x&listen=4222": false, "dir=x&sync=0s": false, "dir=x&sync=often": false, "dir=x&port=1": false,
	} {
		q, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := broker.Parse(q); (err == nil) != valid {
			t.Errorf("%s: %v", text, err)
		}
	}
}
