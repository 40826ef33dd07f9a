package sqlstore

import (
	"reflect"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
)

func TestTimeIsReadFromBothForms(t *testing.T) {
	want := time.Date(2026, 11, 24, 8, 0, 0, 123456000, time.UTC)
	for _, src := range []any{want.UnixMicro(), want.In(time.FixedZone("Tokyo", 9*3600))} {
		var got time.Time
		if err := (columnTime{&got}).Scan(src); err != nil || got != want {
			t.Errorf("%v was read as %v, %v", src, got, err)
		}
	}
}

func TestTimeThatNoBrokerCarriesIsLeftOut(t *testing.T) {
	for _, src := range []any{nil, "infinity", time.Date(294276, 1, 1, 0, 0, 0, 0, time.UTC), int64(1) << 60} {
		got := time.Now()
		if err := (columnTime{&got}).Scan(src); err != nil || !got.IsZero() {
			t.Errorf("%v was read as %v, %v", src, got, err)
		}
	}
}

func TestTombstoneIsNotEmpty(t *testing.T) {
	p := []byte("old")
	if err := (columnPayload{&p}).Scan(nil); err != nil || p != nil {
		t.Errorf("NULL was read as %q, %v", p, err)
	}
	if err := (columnPayload{&p}).Scan([]byte{}); err != nil || p == nil || len(p) != 0 {
		t.Errorf("an empty body was read as %v, %v", p, err)
	}
}

func TestHeadersComeBack(t *testing.T) {
	want := []waybill.Header{{Name: "b", Value: ""}, {Name: "a", Value: "é\"\\<\x01"}}
	var got []waybill.Header
	if err := (columnHeaders{&got}).Scan(storedHeaders(want)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := (columnHeaders{&got}).Scan(storedHeaders(nil)); err != nil || got != nil {
		t.Errorf("no headers became %v, %v", got, err)
	}
}
