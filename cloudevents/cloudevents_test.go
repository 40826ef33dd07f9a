package cloudevents_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/cloudevents"
	"github.com/waybillhq/waybill/relay"
)

func ExampleAttributes() {
	m := &relay.Message{Pos: 4711, Incarnation: 1760000000000, Message: waybill.Message{
		ID: "0199d5f0-5b5e-7cc4-9d5f-0a1b2c3d4e5f", Topic: "orders.created", Key: "müller", Type: "order.created",
		ContentType: "application/json", Time: time.Date(2026, 3, 1, 13, 4, 5, 6000, time.FixedZone("CET", 3600)),
	}}
	for name, value := range cloudevents.Attributes(m, "/waybill/orders") {
		fmt.Printf("ce-%s: %s\n", name, cloudevents.Encode(value))
	}
	// Output:
	// ce-id: 0199d5f0-5b5e-7cc4-9d5f-0a1b2c3d4e5f
	// ce-source: /waybill/orders
	// ce-type: order.created
	// ce-specversion: 1.0
	// ce-time: 2026-03-01T12:04:05.000006Z
	// ce-datacontenttype: application/json
	// ce-sequence: 1760000000000-0000000000000004711
	// ce-partitionkey: m%C3%BCller
}

func TestAttributesLeaveOutWhatTheMessageDoesNotHave(t *testing.T) {
	t.Parallel()
	var names []string
	for name := range cloudevents.Attributes(&relay.Message{}, "/s") {
		names = append(names, name)
	}
	if want := []string{"id", "source", "type", "specversion", "sequence"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	for range cloudevents.Attributes(&relay.Message{}, "/s") {
		break // an iterator that goes on after this panics
	}
}

func TestSequenceSortsAsTextLikeIncarnationAndPosition(t *testing.T) {
	t.Parallel()
	var got []string
	for _, at := range [][2]int64{{0, 1}, {0, 9}, {0, 10}, {0, 1<<63 - 1}, {1, 1}, {1760000000000, 2}, {1760000000001, 1}} {
		got = append(got, cloudevents.Sequence(&relay.Message{Incarnation: at[0], Pos: at[1]}))
	}
	if !slices.IsSorted(got) {
		t.Errorf("not sorted: %q", got)
	}
}

func FuzzEncodedValuesArePrintableAndDecodeToThemselves(f *testing.F) {
	for _, s := range []string{"", "plain", `a "b" 100%`, "müller", "\xff\x00\r\n", "日本"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := cloudevents.Encode(s)
		for i := range len(e) {
			if e[i] <= ' ' || e[i] > '~' || e[i] == '"' {
				t.Fatalf("%q holds %#x", e, e[i])
			}
		}
		if d, err := url.PathUnescape(e); err != nil || d != s {
			t.Fatalf("%q decodes to %q, %v", e, d, err)
		}
	})
}
