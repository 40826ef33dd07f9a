package testenv

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTwoTestsGetTwoDatabasesOfOneCluster(t *testing.T) {
	t.Parallel()
	one := Database(t, "CREATE TABLE a (n int)")
	two := Database(t, "CREATE TABLE a (n int)")
	a, _ := url.Parse(one)
	b, _ := url.Parse(two)
	if a.Path == b.Path || a.Host != b.Host {
		t.Errorf("got %s and %s, want two databases on one server", one, two)
	}
}

func TestPostgresKeepsCommittedRowsThroughEveryEnd(t *testing.T) {
	t.Parallel()
	p := StartPostgres(t, PostgresConfig{Memory: true, Settings: []string{"max_connections=30"}})
	p.Exec(t, "CREATE TABLE a (n int); INSERT INTO a VALUES (1)")
	for name, end := range map[string]func(){"stop": p.Stop, "crash": p.Crash, "kill": p.Kill} {
		end()
		p.Restart()
		p.Exec(t, "DO $$ BEGIN ASSERT (SELECT n FROM a) = 1; ASSERT current_setting('max_connections') = '30'; END $$")
		t.Logf("after %s: there", name)
	}
	if !strings.Contains(p.Log(), "automatic recovery in progress") {
		t.Error("neither Crash nor Kill made the server recover")
	}
}

func TestKilledPostgresLeavesNoProcess(t *testing.T) {
	t.Parallel()
	p := StartPostgres(t, PostgresConfig{})
	kids := children(p.Pid())
	if len(kids) == 0 {
		t.Fatal("a cluster has background processes, none found")
	}
	p.Kill()
	for _, pid := range append(kids, p.Pid()) {
		if alive(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
}

func TestNATSKeepsItsStoreAndPortThroughKill(t *testing.T) {
	t.Parallel()
	n := StartNATS(t, NATSConfig{})
	// A stream made through the client protocol, as there is no client library here.
	request(t, n, "$JS.API.STREAM.CREATE.s", `{"name":"s","subjects":["s.>"],"storage":"file"}`)
	n.Kill()
	n.Restart()
	if answer := request(t, n, "$JS.API.STREAM.INFO.s", ""); !strings.Contains(answer, `"storage":"file"`) {
		t.Errorf("the stream is gone: %s", answer)
	}
}

func request(t *testing.T, n *NATS, subject, body string) string {
	t.Helper()
	u, _ := url.Parse(n.URL())
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "CONNECT {\"verbose\":false}\r\nSUB in 1\r\nPUB %s in %d\r\n%s\r\n", subject, len(body), body)
	c.SetReadDeadline(time.Now().Add(patience))
	var got []byte
	for buf := make([]byte, 4096); !strings.Contains(string(got), "MSG in"); {
		k, err := c.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got = append(got, buf[:k]...)
	}
	return string(got)
}

func TestPausedServerAnswersOnlyAfterContinue(t *testing.T) {
	t.Parallel()
	n := StartNATS(t, NATSConfig{})
	u, _ := url.Parse(n.URL())
	n.Pause()
	c, err := net.Dial("tcp", u.Host) // the kernel takes the connection
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answered := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		answered <- err
	}()
	if state := procState(t, n.Pid()); state != "T" {
		t.Errorf("state %s, want T (stopped)", state)
	}
	select {
	case <-answered:
		t.Error("a paused server answered")
	default:
	}
	n.Continue()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func procState(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))[0]
}

func TestProcessTellsOutputAndStatus(t *testing.T) {
	t.Parallel()
	p := Start(t, exec.Command("sh", "-c", "echo one; echo two >&2; read line; exit 3"))
	// Standard input is empty, so read returns at once.
	err := p.Wait()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 3 {
		t.Errorf("got %v, want exit status 3", err)
	}
	if p.Output() != "one\ntwo\n" {
		t.Errorf("output %q", p.Output())
	}
}

func TestStopTellsWhetherTheProcessEndedWell(t *testing.T) {
	t.Parallel()
	p := Start(t, exec.Command("sh", "-c", `trap "exit 0" TERM; echo ready; while :; do sleep 0.01; done`))
	p.WaitOutput(t, "ready")
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

// The child is this test binary, which starts a cluster and then waits to be killed.
func TestNothingOutlivesAKilledTestProcess(t *testing.T) {
	if os.Getenv("TESTENV_CHILD") != "" {
		p := StartPostgres(t, PostgresConfig{})
		r, _ := theReaper()
		p.Pause() // even a frozen one must go
		fmt.Printf("cluster %s %d %d end\n", r.disk, p.Pid(), p.paused[0])
		select {}
	}
	t.Parallel()
	NeedPostgres(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestNothingOutlivesAKilledTestProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "TESTENV_CHILD=1")
	child := Start(t, cmd)
	child.WaitOutput(t, " end\n")
	var server, background int
	var dir string
	_, line, _ := strings.Cut(child.Output(), "cluster ")
	if _, err := fmt.Sscan(line, &dir, &server, &background); err != nil {
		t.Fatal(err)
	}
	child.Kill()
	deadline := time.Now().Add(patience)
	for alive(server) || alive(background) || exists(dir) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v: server runs: %v, its child runs: %v, folder %s exists: %v", patience, alive(server), alive(background), dir, exists(dir))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

type fakeT struct {
	Main
	skipped, failed string
}

func (f *fakeT) Skipf(format string, args ...any)  { f.skipped = fmt.Sprintf(format, args...) }
func (f *fakeT) Fatalf(format string, args ...any) { f.failed = fmt.Sprintf(format, args...) }

func TestSkipSaysWhatIsMissingAndNotesIt(t *testing.T) {
	note := filepath.Join(t.TempDir(), "skipped")
	t.Setenv("WAYBILL_TEST_SKIPPED", note)
	t.Setenv("WAYBILL_TEST_REQUIRE", "postgres,nats")
	m := &missing{"moon", "it is far away", "a rocket"}
	f := &fakeT{}
	skip(f, m)
	if want := "testenv: no moon: it is far away. Try: a rocket"; f.skipped != want || f.failed != "" {
		t.Errorf("skipped %q failed %q, want skipped %q", f.skipped, f.failed, want)
	}
	if b, _ := os.ReadFile(note); string(b) != "moon (a rocket)\n" {
		t.Errorf("noted %q", b)
	}
	m.name = "nats"
	f = &fakeT{}
	skip(f, m)
	if !strings.Contains(f.failed, "no nats") {
		t.Errorf("a required server was not missed loudly: %q", f.failed)
	}
}

func TestSignalToAnEndedProcessDoesNothing(t *testing.T) {
	t.Parallel()
	p := Start(t, exec.Command("true"))
	<-p.Done()
	p.Signal(syscall.SIGTERM)
	p.Kill()
}
