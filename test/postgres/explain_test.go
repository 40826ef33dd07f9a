package postgres

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/internal/testenv"
)

// talkingServer logs the plan of every statement, with the rows it went through, as the server itself ran it.
func talkingServer(t *testing.T, settings ...string) *testenv.Postgres {
	t.Helper()
	return testenv.StartPostgres(t, testenv.PostgresConfig{Settings: append([]string{
		"shared_preload_libraries=auto_explain", "auto_explain.log_min_duration=0", "auto_explain.log_analyze=on", "auto_explain.log_buffers=on", "auto_explain.log_timing=off",
		"auto_explain.log_format=json", "log_line_prefix=%a|%x|", "autovacuum=off"}, settings...)})
}

// plan is what auto_explain logged of one statement.
type plan struct {
	app, xid string // of the session; xid is 0 where the transaction has no number
	Query    string `json:"Query Text"`
	Plan     node
}

type node struct {
	Type    string  `json:"Node Type"`
	Index   string  `json:"Index Name"`
	Table   string  `json:"Relation Name"`
	Rows    float64 `json:"Actual Rows"` // of one loop
	Removed float64 `json:"Rows Removed by Filter"`
	Filter  string
	Loops   float64 `json:"Actual Loops"`
	Hit     float64 `json:"Shared Hit Blocks"` // with everything below
	Read    float64 `json:"Shared Read Blocks"`
	Plans   []node
}

// walk calls f for n and every node below it.
func (n node) walk(f func(node)) {
	f(n)
	for _, p := range n.Plans {
		p.walk(f)
	}
}

// outbox returns how the outbox was read, as the types and indexes of its scans, and how many rows that went through.
func (p plan) outbox() (by []string, rows int) {
	p.Plan.walk(func(n node) {
		if n.Table == "outbox" {
			by = append(by, strings.TrimSpace(n.Type+" "+n.Index))
			rows += int((n.Rows + n.Removed) * n.Loops)
		}
	})
	return by, rows
}

// parses returns the conditions that parse a snapshot's text for every row of the outbox.
func (p plan) parses() (filters []string) {
	p.Plan.walk(func(n node) {
		if n.Table == "outbox" && strings.Contains(n.Filter, "::pg_snapshot") {
			filters = append(filters, n.Filter)
		}
	})
	return filters
}

func (p plan) is(k kind) bool { return strings.Contains(p.Query, string(k)) }

// kind tells the reader's statements apart by a part of each.
type kind string

const (
	look   kind = "pg_current_snapshot()::text"
	bounds kind = "count(*) AS n"
	page   kind = "AND NOT pg_visible_in_snapshot"
	save   kind = "UPDATE waybill.cursor SET position"
	renew  kind = "UPDATE waybill.lease SET expires_at"
)

var planLine = regexp.MustCompile(`^(.*)\|(\d+)\|LOG:  duration: [0-9.]+ ms  plan:$`)

// plans reads the server's log from offset on: what relays ran, in order.
func plans(t *testing.T, pg *testenv.Postgres, offset int) (list []plan) {
	t.Helper()
	lines := strings.Split(pg.Log()[offset:], "\n")
	for i := 0; i < len(lines); i++ {
		m := planLine.FindStringSubmatch(lines[i])
		if m == nil || m[1] != "waybill" {
			continue
		}
		var text strings.Builder
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "\t") {
			i++
			text.WriteString(lines[i])
		}
		p := plan{app: m[1], xid: m[2]}
		if err := json.Unmarshal([]byte(text.String()), &p); err != nil {
			continue // the end of the log, being written at this moment
		}
		list = append(list, p)
	}
	return list
}

func count(list []plan, k kind) (n int) {
	for _, p := range list {
		if p.is(k) {
			n++
		}
	}
	return n
}
