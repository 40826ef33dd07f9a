package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/internal/testenv"
)

const deadDatabase = "WAYBILL_SOURCE=postgres://app:x@127.0.0.1:1/db"

func TestTheExitCodeSaysWhatHappened(t *testing.T) {
	t.Parallel()
	file := []string{"WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK=nats://127.0.0.1:1"}
	send := []string{"send", "--topic", "a", "--type", "b"}
	for _, test := range []struct {
		name  string
		env   []string
		setup func(s shell)
		args  []string
		code  int
		want  string // in standard error
	}{
		{"help", nil, nil, []string{"help"}, fault.OK, ""},
		{"help of a command", nil, nil, []string{"help", "migrate", "up"}, fault.OK, ""},
		{"a flag for help", nil, nil, []string{"run", "--help"}, fault.OK, ""},
		{"version", nil, nil, []string{"version"}, fault.OK, ""},
		{"a database without tables", file, func(s shell) { s.write("app.db", "") }, send, fault.Failed, "WB3002"},
		{"a message that is not valid", file, func(s shell) { s.must("migrate", "up") }, append(send, "--header", "Nats-Rollup=all"), fault.Failed, "WB3104"},
		{"no command", nil, nil, nil, fault.Usage, "WB4601"},
		{"an unknown command", nil, nil, []string{"rn"}, fault.Usage, "WB4601"},
		{"an unknown flag", nil, nil, []string{"run", "--fast"}, fault.Usage, "WB4601"},
		{"help of an unknown command", nil, nil, []string{"help", "rn"}, fault.Usage, "WB4601"},
		{"a flag that is missing", nil, nil, []string{"send"}, fault.Usage, "Try: waybill help send"},
		{"an output that does not exist", nil, nil, []string{"version", "-o", "xml"}, fault.Usage, "WB4601"},
		{"a missing configuration", nil, nil, []string{"-c", "none.yaml", "run"}, fault.Usage, "WB4501"},
		{"a wrong configuration", nil, func(s shell) { s.write("waybill.yaml", "sinkz: {}") }, []string{"config", "check"}, fault.Usage, `(did you mean "sinks"?)`},
		{"an unknown scheme", []string{"WAYBILL_SOURCE=mysql://h/db"}, nil, []string{"config", "check"}, fault.Usage, "WB4509 WAYBILL_SOURCE: sources.default.url"},
		{"an unknown sink", []string{"WAYBILL_SINK=mqtt://h"}, nil, []string{"config", "check"}, fault.Usage, "WB4509 WAYBILL_SINK: sinks.default.url"},
		{"nothing to run", nil, nil, []string{"run"}, fault.Usage, "WB4604"},
		{"no source", nil, nil, send, fault.Usage, "WB4604"},
		{"a database that does not answer", []string{deadDatabase}, nil, send, fault.Unreachable, "WB4603"},
		{"a database file that is missing", file, nil, []string{"status"}, fault.Unreachable, "Try: waybill migrate up"},
		{"problems in the schema", file, func(s shell) { s.write("app.db", "") }, []string{"migrate", "validate"}, fault.Problems, "WB4610"},
		{"files are there already", nil, func(s shell) { s.must("init") }, []string{"init"}, fault.Refused, "WB4612"},
		{"files may be overwritten", nil, func(s shell) { s.must("init") }, []string{"init", "--yes"}, fault.OK, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t, test.env...)
			if test.setup != nil {
				test.setup(s)
			}
			stdout, stderr, code := s.run(test.args...)
			if code != test.code || !strings.Contains(stderr, test.want) {
				t.Errorf("exit %d, want %d with %q\nstdout: %s\nstderr: %s", code, test.code, test.want, stdout, stderr)
			}
			if code != 0 && !strings.HasPrefix(stderr, "waybill: WB") {
				t.Errorf("the error has no code: %s", stderr)
			}
		})
	}
}

func TestAnInterruptedCommandEndsWith130(t *testing.T) {
	t.Parallel()
	s := newShell(t, "WAYBILL_SOURCE=sqlite:app.db")
	cmd := s.command("send", "--topic", "a", "--type", "b", "--verbose")
	stdin, err := cmd.StdinPipe() // never closed: the command waits for the body
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	p := testenv.Start(t, cmd)
	p.WaitOutput(t, "reading the body from standard input")
	p.Signal(syscall.SIGINT)
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.ExitCode() != fault.Interrupted {
		t.Errorf("ended with %v", err)
	}
}

func TestEveryReadPrintsJSON(t *testing.T) {
	t.Parallel()
	s := newShell(t, "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK=nats://127.0.0.1:1")
	s.must("migrate", "up")
	db, err := sql.Open("sqlite", filepath.Join(s.dir, "app.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	asideTable{shell: s, DB: db, prefix: "waybill_"}.aside("default", 1, "parked", "a", "k", "")
	// What each leaf command needs besides; nil is a command that reads nothing, or has its own test.
	args := map[string][]string{
		"demo": nil, "doctor": nil, "run": nil,
		"config check": {}, "config show": {}, "help": {}, "init": {"--yes", "--dir", "init"}, "migrate up": {}, "migrate print": {}, "migrate validate": {},
		"send": {"--topic", "a", "--type", "b"}, "status": {}, "version": {},
		"parked list": {}, "parked show": {"1"}, "parked retry": {"1"}, "parked edit": {"1", "--type", "b"}, "parked discard": {"1"},
	}
	var root command
	if err := json.Unmarshal([]byte(s.must("help", "-o", "json")), &root); err != nil {
		t.Fatal(err)
	}
	seen := 0
	var walk func(c command, path []string)
	walk = func(c command, path []string) {
		for _, child := range c.Commands {
			walk(child, append(path[:len(path):len(path)], child.Name))
		}
		if len(c.Commands) > 0 {
			return
		}
		more, known := args[strings.Join(path, " ")]
		if !known {
			t.Errorf("this test does not know the command %q", strings.Join(path, " "))
		}
		if more == nil {
			return
		}
		seen++
		line := append(path[:len(path):len(path)], more...)
		stdout := s.must(append(line, "-o", "json")...)
		decoder := json.NewDecoder(strings.NewReader(stdout))
		var v any
		if err := decoder.Decode(&v); err != nil || decoder.More() {
			t.Errorf("%s: not one JSON value (%v): %s", strings.Join(path, " "), err, stdout)
		}
		if s.must(line...) == stdout {
			t.Errorf("%s: -o json changes nothing", strings.Join(path, " "))
		}
	}
	walk(root, nil)
	if seen != len(args)-3 {
		t.Errorf("%d reads were tried, %d are known", seen, len(args)-3)
	}
}

func TestHelpIsAsItWas(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	var all bytes.Buffer
	for _, args := range []string{"", "demo", "init", "migrate", "migrate up", "migrate print", "migrate validate", "run", "send", "parked", "parked list", "parked show", "parked retry", "parked edit", "parked discard", "status", "config", "config check", "config show", "version", "help"} {
		all.WriteString("$ waybill help " + args + "\n" + s.must(append([]string{"help"}, strings.Fields(args)...)...) + "\n")
	}
	const golden = "testdata/help.txt"
	if *update {
		if err := os.WriteFile(golden, all.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if all.String() != string(want) {
		t.Errorf("the help has changed; if that is meant: go test -run TestHelpIsAsItWas -update\n%s", all.String())
	}
}
