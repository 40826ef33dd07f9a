package publish

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/waybillhq/waybill"
)

func TestTheSQLFunctionWritesWhatPublishWould(t *testing.T) {
	t.Parallel()
	d := migratedPostgres(t)
	for i, call := range []string{
		`'orders', '42', 'order.created', '{"total": 12}'`,
		`'orders', '42', 'order.created', jsonb_build_object('total', 12)::text`,
		`'orders', NULL, 'order.created', '\x00ff'::bytea`,
		`'orders', '42', 'order.created', NULL`,
		`'orders', '42', 'order.created', ''`,
		`topic => 'orders', key => '42', type => 'order.created', payload => 'plain'::text, content_type => 'text/plain', headers => '[["a","b"], ["c","\u20ac"]]'`,
	} {
		args := fmt.Sprintf("%s, id => '%d'", call, i)
		var id string
		if err := d.db.QueryRowContext(t.Context(), `SELECT waybill.publish(`+args+`)`).Scan(&id); err != nil || id != fmt.Sprint(i) {
			t.Errorf("publish(%s): %q, %v", args, id, err)
		}
	}
	json, octets := "application/json", "application/octet-stream"
	want := []waybill.Message{
		{ID: "0", Topic: "orders", Key: "42", Type: "order.created", Payload: []byte(`{"total": 12}`), ContentType: json},
		{ID: "1", Topic: "orders", Key: "42", Type: "order.created", Payload: []byte(`{"total": 12}`), ContentType: json},
		{ID: "2", Topic: "orders", Type: "order.created", Payload: []byte{0, 255}, ContentType: octets},
		{ID: "3", Topic: "orders", Key: "42", Type: "order.created", ContentType: json},
		{ID: "4", Topic: "orders", Key: "42", Type: "order.created", Payload: []byte{}, ContentType: json},
		{ID: "5", Topic: "orders", Key: "42", Type: "order.created", Payload: []byte("plain"), ContentType: "text/plain", Headers: []waybill.Header{{Name: "a", Value: "b"}, {Name: "c", Value: "€"}}},
	}
	if got := d.stored(t); !reflect.DeepEqual(got, want) {
		t.Errorf("stored\n%q, want\n%q", got, want)
	}
}

func TestTheSQLFunctionRefusesWhatNoBrokerCouldTake(t *testing.T) {
	t.Parallel()
	d := migratedPostgres(t)
	for call, want := range map[string]string{
		`'', 'k', 'n', 'x'`:                               "WB3101 the topic",
		`NULL, 'k', 'n', 'x'`:                             "WB3101 the topic",
		`repeat('t', 250), 'k', 'n', 'x'`:                 "WB3102 the topic",
		`'a b', 'k', 'n', 'x'`:                            "WB3103 the topic",
		`'orders.*', 'k', 'n', 'x'`:                       "WB3103 the topic",
		`'t', 'k', '', 'x'`:                               "WB3101 the type",
		`'t', 'k', NULL, 'x'`:                             "WB3101 the type",
		`'t', 'k', repeat('n', 256), 'x'`:                 "WB3102 the type",
		`'t', 'k', 'n', 'x', id => ''`:                    "WB3103 the id",
		`'t', 'k', 'n', 'x', id => 'a b'`:                 "WB3103 the id",
		`'t', 'k', 'n', 'x', headers => '[["a"]]'`:        "WB3009 the headers",
		`'t', 'k', 'n', 'x', headers => '[["a",1]]'`:      "WB3009 the headers",
		`'t', 'k', 'n', 'x', headers => '["a","b"]'`:      "WB3009 the headers",
		`'t', 'k', 'n', 'x', headers => '[["a",null]]'`:   "WB3009 the headers",
		`'t', 'k', 'n', 'x', headers => '{"a":"b"}'`:      "WB3009",
		`'t', 'k', 'n', 'x', headers => 'no JSON at all'`: "type json",
	} {
		_, err := d.db.ExecContext(t.Context(), `SELECT waybill.publish(`+call+`)`)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("publish(%s): %v, want an error with %q", call, err, want)
		}
	}
}
