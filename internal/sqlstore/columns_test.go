package sqlstore

import (
	"reflect"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
)

func FuzzHeadersThatScanSurviveTheWayBack(f *testing.F) {
	for _, text := range []string{`[["a","b"]]`, `[]`, ``, `[["a"]]`, `[["a","b"],["c","\u0000é\ud83d\ude00"]]`, `{}`, `null`, `[["a","b"]] x`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var first, second []waybill.Header
		if Headers(&first).Scan(text) != nil {
			return
		}
		again, err := encodeHeaders(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := Headers(&second).Scan(again); err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("%q became %v, %v", first, second, err)
		}
	})
}

func TestHeadersThatAreNoPairsAreRefused(t *testing.T) {
	for _, text := range []string{`{}`, `[["a"]]`, `[["a","b","c"]]`, `[["a",1]]`, `[["a","b"]]]`, `nonsense`} {
		var h []waybill.Header
		if err := Headers(&h).Scan(text); err == nil {
			t.Errorf("%s was read as %v", text, h)
		}
	}
}

func TestTimeIsReadFromBothForms(t *testing.T) {
	want := time.Date(2026, 11, 24, 8, 0, 0, 123456000, time.UTC)
	for _, src := range []any{want.UnixMicro(), want.In(time.FixedZone("Tokyo", 9*3600))} {
		var got time.Time
		if err := Time(&got).Scan(src); err != nil || got != want {
			t.Errorf("%v was read as %v, %v", src, got, err)
		}
	}
}

func TestTombstoneIsNotEmpty(t *testing.T) {
	p := []byte("old")
	if err := Payload(&p).Scan(nil); err != nil || p != nil {
		t.Errorf("NULL was read as %q, %v", p, err)
	}
	if err := Payload(&p).Scan([]byte{}); err != nil || p == nil || len(p) != 0 {
		t.Errorf("an empty body was read as %v, %v", p, err)
	}
}
