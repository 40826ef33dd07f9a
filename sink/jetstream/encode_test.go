package jetstream

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
)

func TestOnlyALiteralSubjectIsATopic(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"orders", "orders.created", "a.b.c.d", "заказы.новые", "a*b", "a>b", "_x", strings.Repeat("x", 1024)} {
		if fault := subjectFault(good); fault != "" {
			t.Errorf("%q %s", good, fault)
		}
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "*", "a.*", ">", "a.>", "a b", "a\tb", "a\r\nPUB x 0", "a\x00", "$JS.API.STREAM.DELETE.orders", "$SYS.x", strings.Repeat("x", 1025)} {
		err := (&encoder{}).encode(&relay.Message{Message: waybill.Message{ID: "1", Topic: bad}})
		if !relay.IsRejected(err) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestAHeaderThatInstructsTheServerIsRejected(t *testing.T) {
	t.Parallel()
	for _, header := range []waybill.Header{
		{Name: "Nats-Rollup", Value: "all"}, {Name: "nats-ttl", Value: "1s"}, {Name: "Nats-Msg-Id", Value: "other"},
		{Name: "ce-id", Value: "other"}, {Name: "waybill-tombstone", Value: "1"}, {Name: "Status", Value: "503"},
		{Name: "a", Value: "b\r\nNats-Rollup: all"}, {Name: "b", Value: "\x00"},
	} {
		e := encoder{msg: nats.Msg{Header: nats.Header{}}}
		err := e.encode(&relay.Message{Message: waybill.Message{ID: "1", Topic: "a", Headers: []waybill.Header{header}}})
		if !relay.IsRejected(err) || !strings.Contains(err.Error(), header.Name) {
			t.Errorf("%v: %v", header, err)
		}
	}
}

func TestAnEncoderForgetsThePreviousMessage(t *testing.T) {
	t.Parallel()
	e := encoder{msg: nats.Msg{Header: nats.Header{}}}
	first := &relay.Message{Message: waybill.Message{ID: "1", Topic: "a", Key: "k", Headers: []waybill.Header{{Name: "x", Value: "1"}, {Name: "y", Value: "2"}}}}
	second := &relay.Message{Message: waybill.Message{ID: "2", Topic: "b", Payload: []byte{}}}
	for _, m := range []*relay.Message{first, second} {
		if err := e.encode(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, gone := range []string{"x", "y", "ce-partitionkey", "waybill-tombstone"} {
		if _, there := e.msg.Header[gone]; there {
			t.Errorf("%s is still there", gone)
		}
	}
	if e.msg.Header.Get("ce-id") != "2" || e.msg.Subject != "b" {
		t.Errorf("got %v", e.msg)
	}
}

func TestAReplyIsStoredRefusedOrNotAStreams(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]string{
		`{"stream":"S","seq":1}`:                            "stored",
		`{"stream":"S","seq":1,"duplicate": true}`:          "stored",
		`{"seq":1,"stream":"S","domain":"d"}`:               "stored",
		`{"stream":"error","seq":1}`:                        "stored",
		`{ "stream" : "S" , "seq" : 18446744073709551615 }`: "stored",
		`{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}`:        "rejected",
		`{"error":{"code":400,"err_code":10097},"stream":"S","seq":0}`:                                        "rejected",
		`{"stream":"S","seq":0,"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}`: "temporary",
		`{"error":{"code":503,"err_code":10023,"description":"insufficient resources"},"stream":"S"}`:         "temporary",
		`{"error":{"code":400,"err_code":10109,"description":"invalid operation on sealed stream"}}`:          "topic",
		``: "not a stream's", `{}`: "not a stream's", `OK`: "not a stream's", `{"stream":""}`: "not a stream's", `[]`: "not a stream's", `{"stream":7}`: "not a stream's",
	} {
		stored, err := acknowledged([]byte(reply), "orders")
		got := "not a stream's"
		switch {
		case stored && err == nil:
			got = "stored"
		case relay.IsRejected(err):
			got = "rejected"
		case relay.IsTopic(err):
			got = "topic"
		case err != nil:
			got = "temporary"
		}
		if got != want || stored && err != nil {
			t.Errorf("%s: %s (%v), want %s", reply, got, err, want)
		}
	}
}

func FuzzARefusalIsNeverTakenForStored(f *testing.F) {
	f.Add([]byte(`{"stream":"S","seq":1}`))
	f.Add([]byte(`{"stream":"S","error":{"code":1}}`))
	f.Add([]byte(`{"stream":"S`))
	f.Fuzz(func(t *testing.T, data []byte) {
		stored, err := acknowledged(data, "orders")
		if stored && (err != nil || !strings.Contains(string(data), "stream") || strings.Contains(string(data), `"error":{"`)) {
			t.Errorf("%q is taken for stored", data)
		}
	})
}

func TestFaultsOfTheConfigurationAreToldAtOnceAndWithoutSecrets(t *testing.T) {
	t.Parallel()
	_, err := New("nats://user:hun%zzter@host", Config{Create: true, CertFile: "c", Replicas: 9, Duplicates: -1})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"server 1", "Create", "CertFile", "Replicas is 9", "Duplicates"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hun") {
		t.Errorf("the password is in: %v", err)
	}
	for _, good := range []string{"", "localhost", "127.0.0.1:4222,[::1]:4222", "nats://a:1, tls://b:2", "ws://c"} {
		if _, err := New(good, Config{}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}
