package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

const natsModule = "github.com/nats-io/nats-server/v2"

// natsServer is the program, built once a machine and version from the module that test/go.mod names.
var natsServer = sync.OnceValues(func() (string, error) {
	dir, err := testModule()
	if err != nil {
		return "", err
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", err
	}
	_, rest, found := strings.Cut(string(mod), natsModule+" v")
	if !found {
		return "", fmt.Errorf("%s/go.mod does not require %s", dir, natsModule)
	}
	return cached("nats-server-v"+strings.Fields(rest)[0], func(path string) error {
		// Plain flags: its packages are then compiled once for this and for the command, which holds the same server.
		cmd := exec.Command("go", "build", "-o", path, natsModule)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false -p=2")
		if out, err := cmd.CombinedOutput(); err != nil {
			return &missing{"nats", fmt.Sprintf("go build %s: %v: %s", natsModule, err, lastLine(out)),
				"a connection to a Go module proxy, or set WAYBILL_TEST_NATS_URL"}
		}
		return nil
	})
})

// testModule is the folder of the module test, found from the package under test upwards.
func testModule() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return filepath.Join(dir, "test"), nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("not inside the repository: no go.work in any folder above")
		}
		dir = up
	}
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
