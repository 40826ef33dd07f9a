package demo

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The demo starts its children from its own program, which is this test.
func TestMain(m *testing.M) {
	if code, isChild := Child(os.Args[1:]); isChild {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func TestWaybillKeepsItsPromiseWhereTheDoubleWriteFails(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out bytes.Buffer
	if err := Run(t.Context(), Options{For: 4 * time.Second, JSON: true, Out: &out}); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	var result map[string]map[string]int
	decoder := json.NewDecoder(&out)
	if err := decoder.Decode(&result); err != nil || decoder.More() {
		t.Fatalf("want one object of counts, got %s (%v)", out.Bytes(), err)
	}
	for _, side := range []string{"double_write", "waybill"} {
		for _, count := range []string{"committed", "received", "lost", "phantom", "out_of_order", "duplicates"} {
			if _, ok := result[side][count]; !ok || len(result[side]) != 6 {
				t.Errorf("%s lacks %s, or has more than it should: %v", side, count, result[side])
			}
		}
	}
	if w := result["waybill"]; w["committed"] == 0 || w["received"] != w["committed"] || w["lost"]+w["phantom"]+w["out_of_order"] != 0 {
		t.Errorf("Waybill: %v", w)
	}
	if d := result["double_write"]; d["lost"]+d["phantom"] == 0 {
		t.Errorf("the faults did the double write no harm: %v", d)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
