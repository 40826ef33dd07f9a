package waybill

import (
	"errors"
	"reflect"
	"testing"
)

type order struct {
	ID    string `json:"id"`
	Total int    `json:"total"`
}

func TestTypedEncodesJSONUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	created := Typed[order]{Topic: "orders", Type: "order.created", Key: func(o order) string { return o.ID }}
	got, err := created.Message(order{"42", 7})
	want := Message{Topic: "orders", Type: "order.created", Key: "42", Payload: []byte(`{"id":"42","total":7}`), ContentType: "application/json"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	created.Key, created.Encode = nil, func(o order) ([]byte, string, error) { return []byte(o.ID), "text/plain", nil }
	got, err = created.Message(order{ID: "42"})
	want = Message{Topic: "orders", Type: "order.created", Payload: []byte("42"), ContentType: "text/plain"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestTypedPublishesAllValuesInOneStatementOrNone(t *testing.T) {
	t.Parallel()
	refused := errors.New("odd")
	even := Typed[int]{Topic: "t", Type: "n", Encode: func(n int) ([]byte, string, error) {
		if n%2 == 1 {
			return nil, "", refused
		}
		return nil, "", nil
	}}
	o, tx := newOutbox(t, Config{}), &fakeTx{}
	if err := even.Publish(t.Context(), o, Pgx(tx), 2, 3); !errors.Is(err, refused) || len(tx.queries) != 0 {
		t.Errorf("error %v, statements %q", err, tx.queries)
	}
	if err := even.Publish(t.Context(), o, Pgx(tx), 2, 4, 6); err != nil || len(tx.queries) != 1 {
		t.Errorf("error %v, statements %q", err, tx.queries)
	}
}

func TestAValueThatCannotBeJSONIsAnError(t *testing.T) {
	t.Parallel()
	_, err := Typed[func()]{Topic: "t", Type: "n"}.Message(nil)
	if err == nil {
		t.Error("a func became JSON")
	}
}
