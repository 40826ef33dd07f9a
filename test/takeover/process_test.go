package takeover

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/testenv"
)

// process is one waybill run.
type process struct {
	*testenv.Process
	number  int
	address string
	awake   atomic.Bool
}

var probes = regexp.MustCompile(`probes.*address"?[=:]"?(127\.0\.0\.1:\d+)`)

func (s *scene) start(t *testing.T) *process {
	t.Helper()
	path, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "run", "--config", s.config, "--listen", "127.0.0.1:0")
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "WAYBILL_") && !strings.HasPrefix(pair, "PG") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	p := &process{Process: testenv.Start(t, cmd)}
	within(t, "the process to answer", func() bool {
		if found := probes.FindStringSubmatch(p.Output()); found != nil {
			p.address = found[1]
		}
		return p.address != ""
	})
	p.awake.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes = append(s.processes, p)
	p.number = len(s.processes)
	return p
}

// startMany starts n, which come one after the other, and waits until all relays have owners.
func (s *scene) startMany(t *testing.T, n int) {
	t.Helper()
	for range n {
		s.start(t)
	}
	t.Logf("%d processes are up: %s", n, s.whoOwns(t))
}

func (s *scene) alive() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.processes), func(p *process) bool { return !p.awake.Load() })
}

func (p *process) kill() {
	p.awake.Store(false)
	p.Kill()
}

func (p *process) pause() {
	p.awake.Store(false)
	p.Pause()
}

func (p *process) wake() {
	p.Continue()
	p.awake.Store(true)
}

// picture is a relay as its process sees it.
type picture struct {
	Relay, State string
	Epoch        int64
}

var client = http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// status is what the process answers; nothing when it does not.
func (p *process) status() []picture {
	r, err := client.Get("http://" + p.address + "/status")
	if err != nil {
		return nil
	}
	defer r.Body.Close()
	var answer struct{ Relays []picture }
	if json.NewDecoder(r.Body).Decode(&answer) != nil {
		return nil
	}
	return answer.Relays
}

// tenure is who owns a relay by the database.
type tenure struct {
	owner *process // nil when it is none of those that are awake
	epoch int64
}

// tenures are the relays that are owned at this moment, by their names without the scene's. The owner's name in the lease tells the process number.
func (s *scene) tenures(t *testing.T) map[string]tenure {
	t.Helper()
	byPid := map[int]*process{}
	for _, p := range s.alive() {
		byPid[p.Pid()] = p
	}
	all := map[string]tenure{}
	s.each(t, `SELECT relay, owner, epoch FROM waybill.lease JOIN waybill.cursor USING (relay, epoch) WHERE expires_at > clock_timestamp()`, func(scan func(...any) error) error {
		var relay, owner string
		var now tenure
		err := scan(&relay, &owner, &now.epoch)
		part := strings.Split(owner, "-")
		pid, _ := strconv.Atoi(part[max(0, len(part)-2)]) // host-process-random
		now.owner = byPid[pid]
		all[strings.TrimPrefix(relay, s.name+"-")] = now
		return err
	})
	return all
}

// owned waits until every relay has an owner that is awake, and returns them.
func (s *scene) owned(t *testing.T) (all map[string]tenure) {
	t.Helper()
	within(t, "every relay to be owned", func() bool {
		all = s.tenures(t)
		n := 0
		for _, now := range all {
			if now.owner != nil {
				n++
			}
		}
		return n == len(patterns)
	})
	return all
}

func (s *scene) whoOwns(t *testing.T) string {
	t.Helper()
	owned := map[*process][]string{}
	for relay, now := range s.owned(t) {
		owned[now.owner] = append(owned[now.owner], relay)
	}
	var b strings.Builder
	for _, p := range s.alive() {
		slices.Sort(owned[p])
		fmt.Fprintf(&b, "process %d: %s; ", p.number, strings.Join(owned[p], " "))
	}
	return b.String()
}
