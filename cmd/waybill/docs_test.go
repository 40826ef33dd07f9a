package main

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
)

const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryCodeHasItsPlaceInTheErrorsPage(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile(`WB[0-9]{4}`)
	used := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"bench", "examples", "test", "testdata", "waybilltest"}, name)):
			return filepath.SkipDir // what no user's process prints
		case !strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, ".sql"), strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, c := range code.FindAllString(string(text), -1) {
			used[c] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	section := regexp.MustCompile(`(?m)^### (WB[0-9]{4}) .+\n- Cause: .+\n- Check: .+\n- Fix: .+$`)
	explained := map[string]bool{}
	last := ""
	for _, m := range section.FindAllStringSubmatch(read(t, "docs/errors.md"), -1) {
		if m[1] <= last {
			t.Errorf("%s stands behind %s", m[1], last)
		}
		last, explained[m[1]] = m[1], true
		if used[m[1]] == "" {
			t.Errorf("docs/errors.md explains %s, which nothing uses", m[1])
		}
	}
	for _, c := range slices.Sorted(maps.Keys(used)) {
		if !explained[c] {
			t.Errorf("docs/errors.md does not explain %s of %s with cause, check and fix", c, used[c])
		}
	}
	if len(used) < 50 {
		t.Errorf("only %d codes were found", len(used))
	}
}

func TestEveryKeyIsExplainedWithItsDefault(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/configuration.md")
	for _, of := range []struct {
		section, prefix string
		keys            reflect.Type
	}{
		{"## Top level", "", reflect.TypeFor[config.Config]()},
		{"## Sources", "sources.<name>.", reflect.TypeFor[config.Source]()},
		{"## Sources", "sources.<name>.columns.", reflect.TypeFor[config.Columns]()},
		{"## Sources", "sources.<name>.retention.", reflect.TypeFor[config.Retention]()},
		{"## Sinks", "sinks.<name>.", reflect.TypeFor[config.Sink]()},
		{"### NATS JetStream", "sinks.<name>.", reflect.TypeFor[config.JetStream]()},
		{"### Kafka", "sinks.<name>.", reflect.TypeFor[config.Kafka]()},
		{"### RabbitMQ", "sinks.<name>.", reflect.TypeFor[config.RabbitMQ]()},
		{"## Relays", "relays.<name>.", reflect.TypeFor[config.Relay]()},
	} {
		_, text, found := strings.Cut(page, "\n"+of.section+"\n")
		if !found {
			t.Errorf("docs/configuration.md has no %s", of.section)
		}
		text = regexp.MustCompile(`(?s)\n##.*`).ReplaceAllString(text, "")
		known := map[string]bool{}
		for f := range of.keys.Fields() {
			key := f.Tag.Get("yaml")
			if key == "" || key == "-" || f.Type.Kind() == reflect.Map && f.Type.Elem().Kind() == reflect.Struct || f.Type == reflect.TypeFor[config.Columns]() || f.Type == reflect.TypeFor[config.Retention]() {
				continue
			}
			known[key] = true
			row := "| `" + of.prefix + key + "` | "
			if d := f.Tag.Get("default"); d != "" {
				row += "`" + d + "` | "
			}
			if !strings.Contains(text, row) {
				t.Errorf("docs/configuration.md has under %s no row that begins with %s", of.section, row)
			}
		}
		for _, m := range regexp.MustCompile("(?m)^\\| `"+regexp.QuoteMeta(of.prefix)+"([a-z_]+)` ").FindAllStringSubmatch(text, -1) {
			if !known[m[1]] {
				t.Errorf("docs/configuration.md explains under %s a key %s, which is not there", of.section, m[1])
			}
		}
	}
}

func TestEveryCommandAndExitCodeIsInTheCLIPage(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/cli.md")
	help, err := os.ReadFile("testdata/help.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\$ waybill help (.+)$`).FindAllStringSubmatch(string(help), -1) {
		if !strings.Contains(page, "`waybill "+m[1]) {
			t.Errorf("docs/cli.md does not name waybill %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-., +)?--([a-z-]+)`).FindAllStringSubmatch(string(help), -1) {
		if !strings.Contains(page, "`--"+m[1]) {
			t.Errorf("docs/cli.md does not explain --%s", m[1])
		}
	}
	for _, code := range []string{"0", "1", "2", "3", "4", "5", "130"} {
		if !strings.Contains(page, "\n| "+code+" | ") {
			t.Errorf("docs/cli.md does not explain exit code %s", code)
		}
	}
}
