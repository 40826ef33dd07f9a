package telemetry_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

func file(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// onlyListed checks that every metric of the queries is in the list, and returns them.
func onlyListed(t *testing.T, where, queries string) (used map[string]bool) {
	t.Helper()
	page := file(t, "docs/metrics.md")
	used = map[string]bool{}
	for _, name := range regexp.MustCompile(`waybill_[a-z_]+`).FindAllString(queries, -1) {
		name = strings.TrimSuffix(name, "_bucket")
		used[name] = true
		if !strings.Contains(page, "\n| `"+name+"` |") {
			t.Errorf("%s asks for %s, which docs/metrics.md does not list", where, name)
		}
	}
	return used
}

func TestEachAlertHasItsPageAndItsMetric(t *testing.T) {
	t.Parallel()
	rules := file(t, "deploy/alerts.yml")
	onlyListed(t, "deploy/alerts.yml", rules)
	alerts := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(rules, -1)
	links := regexp.MustCompile(`runbook_url: https://github.com/waybillhq/waybill/blob/main/docs/operations.md#([a-z]+)\n`).FindAllStringSubmatch(rules, -1)
	if len(alerts) != 5 || len(links) != len(alerts) {
		t.Fatalf("%d alerts, %d links to docs/operations.md", len(alerts), len(links))
	}
	page := file(t, "docs/operations.md")
	for i, alert := range alerts {
		if links[i][1] != strings.ToLower(alert[1]) || !strings.Contains(page, "\n### "+alert[1]+"\n") {
			t.Errorf("%s has no section in docs/operations.md, or a link to another", alert[1])
		}
	}
}

func TestTheDashboardAsksForEveryMetric(t *testing.T) {
	t.Parallel()
	text := file(t, "deploy/grafana.json")
	var board struct {
		Templating struct{ List []struct{ Name string } }
		Panels     []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(text), &board); err != nil {
		t.Fatal(err)
	}
	var rows, queries []string
	for _, p := range board.Panels {
		if p.Type == "row" {
			rows = append(rows, p.Title)
		} else if len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
		}
	}
	if got := strings.Join(rows, " "); got != "Are we late? Is anything stuck? Will the database hurt? Throughput" {
		t.Errorf("rows %s", got)
	}
	used := onlyListed(t, "deploy/grafana.json", strings.Join(queries, "\n"))
	for _, m := range regexp.MustCompile("(?m)^\\| `(waybill_[a-z_]+)`").FindAllStringSubmatch(file(t, "docs/metrics.md"), -1) {
		if m[1] != "waybill_build_info" && !used[m[1]] {
			t.Errorf("no panel shows %s", m[1])
		}
	}
	for i, want := range []string{"datasource", "job", "source"} {
		if board.Templating.List[i].Name != want {
			t.Errorf("variable %d is %s, want %s", i, board.Templating.List[i].Name, want)
		}
	}
}
