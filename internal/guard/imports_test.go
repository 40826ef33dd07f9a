// Package guard holds tests of the project's shape: who may import whom, and what each module promises.
package guard

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/waybillhq/waybill"

// mayImport says which of our units a unit's code (not its tests) may import beside itself. "." is the package waybill; a
// first folder stands for all units in it. docs/architecture.md draws the same picture.
var mayImport = map[string][]string{
	".":           {"dialect"},
	"dialect":     {},
	"schema":      {"dialect"},
	"eventstore":  {".", "dialect"},
	"inbox":       {".", "dialect"},
	"relay":       {"."},
	"cloudevents": {".", "relay"},
	"replay":      {".", "relay"},
	"admin":       {".", "relay", "replay"},
	"telemetry":   {".", "relay"},
	"codec":       {"."},
	"internal":    {".", "relay", "dialect", "cloudevents", "internal"},
	"source":      {".", "relay", "dialect", "internal"},
	"sink":        {".", "relay", "cloudevents"},
	"waybilltest": {".", "dialect", "schema", "eventstore", "inbox", "relay", "cloudevents", "replay", "admin", "internal"},
	"cmd":         {".", "dialect", "schema", "eventstore", "inbox", "relay", "cloudevents", "replay", "admin", "telemetry", "codec", "internal", "source", "sink"},
}

// oneClient are the folders whose units are about one database or broker, and so know one vendor's packages.
var oneClient = []string{"source", "sink", "codec"}

// testOnly are the folders that users never build.
var testOnly = []string{"test", "bench", "examples"}

type file struct {
	path    string // from the root of the repository, with slashes
	imports []string
}

func (f file) isTest() bool {
	return strings.HasSuffix(f.path, "_test.go") || slices.Contains(testOnly, top(f.path))
}

// unit is what the rules speak about: a folder of the first level, or of the second where the first only groups.
func unit(dir string) string {
	parts := strings.Split(dir, "/")
	if len(parts) > 1 && slices.Contains([]string{"source", "sink", "codec", "cmd", "internal"}, parts[0]) {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

func top(path string) string { return strings.Split(path, "/")[0] }

// breaks returns what is wrong with f's imports.
func breaks(f file) (faults []string) {
	dir := filepath.ToSlash(filepath.Dir(f.path))
	bad := func(format string, args ...any) { faults = append(faults, f.path+" "+fmt.Sprintf(format, args...)) }
	rule, known := mayImport[top(dir)]
	if !known && !f.isTest() {
		bad("lies in a folder without a rule. Try: add the folder %q to mayImport", top(dir))
	}
	for _, path := range f.imports {
		target, ours := strings.CutPrefix(path, module)
		target = strings.TrimPrefix(target, "/")
		if target == "" {
			target = "."
		}
		switch {
		case ours && top(target) == "cmd" && unit(target) != unit(dir):
			bad("imports %s: nothing imports a command", path)
		case f.isTest():
		case path == "testing" && top(dir) != "waybilltest":
			bad("imports testing: test code must not reach a user's binary")
		case !ours:
		case unit(target) == "waybilltest", unit(target) == "internal/sim" && unit(dir) != "internal/sim":
			bad("imports %s: only _test.go files may", path)
		case unit(target) == "internal/testenv" && top(dir) != "cmd" && unit(dir) != "internal/testenv":
			bad("imports %s: only tests, bench, examples and cmd may", path)
		case unit(dir) == "internal/testenv" && unit(target) != "internal/testenv":
			bad("imports %s: testenv needs the standard library alone", path)
		case unit(target) != unit(dir) && !slices.Contains(rule, top(target)):
			bad("imports %s: %s may import of ours only %q", path, top(dir), rule)
		}
	}
	return faults
}

// vendor is who owns a package outside the standard library: host and first name.
func vendor(path string) string {
	host, rest, _ := strings.Cut(path, "/")
	if !strings.Contains(host, ".") || strings.HasPrefix(path, module) {
		return ""
	}
	return host + "/" + top(rest)
}

func files(t *testing.T) (all []file) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() && rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		f := file{path: filepath.ToSlash(rel)}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		all = append(all, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryPackageImportsOnlyWhatItMay(t *testing.T) {
	t.Parallel()
	vendors := map[string]map[string]bool{}
	for _, f := range files(t) {
		for _, fault := range breaks(f) {
			t.Error(fault)
		}
		if u := unit(filepath.ToSlash(filepath.Dir(f.path))); !f.isTest() && slices.Contains(oneClient, top(u)) {
			for _, path := range f.imports {
				if v := vendor(path); v != "" {
					if vendors[u] == nil {
						vendors[u] = map[string]bool{}
					}
					vendors[u][v] = true
				}
			}
		}
	}
	for u, of := range vendors {
		if len(of) > 1 {
			t.Errorf("%s imports the packages of %d vendors, want one client: %v", u, len(of), of)
		}
	}
}

func TestBrokenImportRulesAreSeen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, imports string }{
		{"outbox.go", module + "/relay"},
		{"dialect/postgres.go", module},
		{"relay/relay.go", module + "/dialect"},
		{"relay/relay.go", module + "/waybilltest"},
		{"relay/relay.go", module + "/internal/testenv"},
		{"relay/relay.go", "testing"},
		{"source/postgres/source.go", module + "/internal/sim"},
		{"source/postgres/source.go", module + "/source/sqlite"},
		{"source/postgres/source.go", module + "/sink/jetstream"},
		{"sink/kafka/sink.go", module + "/source/sqlite"},
		{"sink/kafka/sink.go", module + "/sink/jetstream"},
		{"sink/kafka/sink.go", module + "/dialect"},
		{"replay/replay.go", module + "/cmd/waybill"},
		{"test/torture_test.go", module + "/cmd/waybill/internal/demo"},
		{"internal/testenv/nats.go", module + "/relay"},
		{"surprise/surprise.go", "fmt"},
	} {
		if len(breaks(file{c.path, []string{c.imports}})) == 0 {
			t.Errorf("%s may import %s, want a fault", c.path, c.imports)
		}
	}
	for _, c := range []struct{ path, imports string }{
		{"relay/relay_test.go", module + "/waybilltest"},
		{"test/outbox_test.go", module + "/internal/testenv"},
		{"bench/main.go", module + "/internal/testenv"},
		{"cmd/waybill/run.go", module + "/cmd/waybill/internal/config"},
		{"cmd/waybill/demo.go", module + "/internal/testenv"},
		{"source/postgres/read.go", module + "/source/postgres/internal/wal"},
		{"source/postgres/read.go", module + "/internal/snapshot"},
		{"waybilltest/sink.go", "testing"},
	} {
		if faults := breaks(file{c.path, []string{c.imports}}); len(faults) > 0 {
			t.Error(faults)
		}
	}
}
