package postgres

import (
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/waybillhq/waybill/internal/testenv"
)

// talking is a server that tests share, which ends with the process.
var talking struct {
	testenv.Main
	sync.Mutex
	server *testenv.Postgres
}

// talkingServer logs every statement, with its plan and the rows it went through, as the server itself ran it.
func talkingServer(t testenv.T) *testenv.Postgres {
	return testenv.StartPostgres(t, testenv.PostgresConfig{Settings: []string{
		"shared_preload_libraries=auto_explain", "auto_explain.log_min_duration=0", "auto_explain.log_analyze=on", "auto_explain.log_buffers=on",
		"auto_explain.log_timing=off", "auto_explain.log_format=json", "log_line_prefix=%a|%d|%x|", "log_statement=all", "autovacuum=off"}})
}

// newTalkingScene makes a database on the shared talking server.
func newTalkingScene(t *testing.T) *scene {
	t.Helper()
	testenv.NeedPostgres(t)
	talking.Lock()
	defer talking.Unlock()
	if talking.server == nil {
		talking.server = talkingServer(&talking.Main)
	}
	return talkingScene(t, talking.server)
}

func talkingScene(t *testing.T, pg *testenv.Postgres) *scene {
	t.Helper()
	s := newSceneAt(t, pg.Database(t))
	s.logged = pg.Log
	return s
}

// plan is what auto_explain logged of one statement.
type plan struct {
	xid   string // 0 where the transaction has no number
	Query string `json:"Query Text"`
	Plan  node
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

var planLine = regexp.MustCompile(`^waybill\|(.*)\|(\d+)\|LOG:  duration: [0-9.]+ ms  plan:$`)

// plans returns what relays ran in the scene's database, in order, from an offset of the log on.
func (s *scene) plans(offset int) (list []plan) {
	s.t.Helper()
	database := s.text(`SELECT current_database()`)
	lines := strings.Split(s.logged()[offset:], "\n")
	for i := 0; i < len(lines); i++ {
		m := planLine.FindStringSubmatch(lines[i])
		if m == nil || m[1] != database {
			continue
		}
		var text strings.Builder
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "\t") {
			i++
			text.WriteString(lines[i])
		}
		p := plan{xid: m[2]}
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
