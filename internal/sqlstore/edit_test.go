package sqlstore

import (
	"reflect"
	"testing"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
)

func FuzzAnEditMakesOneMessageTheOther(f *testing.F) {
	f.Add("a", "b", "text", []byte("x"), []byte{}, "h", "1", false)
	f.Add("a", "a", "", []byte{0xff, 0}, []byte(nil), "h", "<\"\\\u2028", true)
	f.Fuzz(func(t *testing.T, topic, other, contentType string, body, changed []byte, name, value string, tombstone bool) {
		from := waybill.Message{ID: "id", Key: "k", Topic: topic, Type: "t", Payload: body, Headers: []waybill.Header{{Name: "old", Value: "1"}}}
		to := waybill.Message{ID: "id", Key: "k", Topic: other, Type: other, Payload: changed, ContentType: contentType}
		if tombstone {
			to.Payload = nil
		}
		if name != "" {
			to.Headers = []waybill.Header{{Name: name, Value: value}}
		}
		outbox, err := waybill.New(waybill.Config{Dialect: dialect.SQLite})
		if err != nil {
			t.Fatal(err)
		}
		if outbox.Validate(from, to) != nil {
			return // never asked for
		}
		got, err := Apply(from, Edited(from, to))
		if err != nil || !reflect.DeepEqual(got, to) {
			t.Errorf("%#v became %#v, %v", from, got, err)
		}
		if text := Edited(to, to); text != "" {
			t.Errorf("no difference is %s", text)
		}
	})
}

func TestAnEditThatIsNoneIsAnError(t *testing.T) {
	for _, text := range []string{"x", "[]", `{"payload":"0"}`, `{"payload":1}`, `{"headers":"x"}`, `{"topic":1}`} {
		if _, err := Apply(waybill.Message{}, text); err == nil {
			t.Errorf("%s was applied", text)
		}
	}
}
