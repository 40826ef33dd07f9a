package publish

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
)

func TestMessagesStandInTheOutboxAsGiven(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		nasty := `{"a":"b\c",'d';$$ %s ?1 $1 NULL,}{\"` + "€𝄞é"
		want := []waybill.Message{
			{ID: "1", Topic: "t", Type: "nil payload"},
			{ID: "2", Topic: "t", Type: "empty payload", Payload: []byte{}},
			{ID: `3"\,{}'`, Topic: "t", Key: nasty, Type: nasty, Payload: []byte(nasty), ContentType: `a/b; c="\"{}"`,
				Headers: []waybill.Header{{Name: "z", Value: nasty}, {Name: "a", Value: ""}},
				Time:    time.Date(2026, 2, 3, 4, 5, 6, 789012000, time.UTC)},
			{ID: "4", Topic: "t", Type: "bytes", Payload: []byte{0, 255, '\\', 0}, Time: time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)},
			{ID: "5", Topic: "t", Type: "NULL", Key: "NULL", Payload: []byte("null"), Time: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)},
		}
		d.publish(t, d.newOutbox(t, waybill.Config{}), want...)
		if got := d.stored(t); !reflect.DeepEqual(got, want) {
			t.Errorf("stored\n%q, want\n%q", got, want)
		}
	})
}

func TestPosFollowsTheOrderOfArguments(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		var want []waybill.Message
		for i := range 5000 {
			want = append(want, waybill.Message{ID: fmt.Sprint(i), Topic: "t", Key: fmt.Sprint(i % 7), Type: "n", Payload: fmt.Append(nil, i)})
		}
		d.publish(t, d.newOutbox(t, waybill.Config{}), want...)
		if got := d.stored(t); !reflect.DeepEqual(got, want) {
			t.Errorf("%d messages stored, not the %d given, in their order", len(got), len(want))
		}
	})
}
