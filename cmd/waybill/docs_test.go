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
	for section, example := range map[string]any{"": config.Config{}, "sources.<name>.": config.Source{}, "sources.<name>.columns.": config.Columns{}, "sources.<name>.retention.": config.Retention{}, "sinks.<name>.": config.Sink{}, "relays.<name>.": config.Relay{}} {
		v := reflect.TypeOf(example)
		for i := range v.NumField() {
			tag := v.Field(i).Tag
			key := tag.Get("yaml")
			if key == "" || key == "-" || v.Field(i).Type.Kind() == reflect.Map || v.Field(i).Type == reflect.TypeFor[config.Columns]() || v.Field(i).Type == reflect.TypeFor[config.Retention]() {
				continue
			}
			row := "| `" + section + key + "` | "
			if d := tag.Get("default"); d != "" {
				row += "`" + d + "` | "
			}
			if !strings.Contains(page, row) {
				t.Errorf("docs/configuration.md has no row that begins with %s", row)
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
