package guard

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTheRootModuleRequiresNothing(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if line := regexp.MustCompile(`(?m)^\s*(require|replace|tool)\b.*`).Find(mod); line != nil {
		t.Errorf("the root go.mod says %q; an application that imports waybill must get no other module with it", line)
	}
}

func TestGoWorkListsEveryModuleButBenchAndExamples(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	work, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Fields(string(work))
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if d.Name() != "go.mod" {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		entry := "./" + rel
		if rel == "." {
			entry = rel
		}
		outside := top(rel) == "bench" || top(rel) == "examples"
		if slices.Contains(listed, entry) == outside {
			t.Errorf("go.work and the module in %s: bench and examples stay out, every other module is listed", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
