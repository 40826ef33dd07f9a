package kafka

import (
	"bytes"
	"hash/crc32"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
)

func TestABatchReadsAsTheProtocolDefinesIt(t *testing.T) {
	t.Parallel()
	when := time.Date(2026, 3, 1, 12, 4, 5, 123456000, time.UTC)
	messages := []*relay.Message{
		{Pos: 4711, Incarnation: 1772366645000, Message: waybill.Message{ID: "a", Topic: "orders", Key: "müller", Type: "t", ContentType: "text/plain",
			Payload: []byte("x"), Time: when, Headers: []waybill.Header{{Name: "Z", Value: "1"}, {Name: "A", Value: ""}}}},
		{Message: waybill.Message{ID: "b", Topic: "orders", Type: "t", Time: when.Add(-time.Hour)}},
		{Message: waybill.Message{ID: "c", Topic: "orders", Type: "t", Payload: []byte{}, Time: when.Add(time.Hour)}},
	}
	e := encoder{source: "/s"}
	var entries []entry
	for _, m := range messages {
		record, err := e.encode(m)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{record: record, millis: millis(m)})
	}
	raw := encodeBatch(entries, producer{id: 7, epoch: 3, sequence: 11, transactional: true}, nil)
	var b kmsg.RecordBatch
	if err := b.ReadFrom(raw); err != nil {
		t.Fatal(err)
	}
	if b.CRC != int32(crc32.Checksum(raw[21:], castagnoli)) || int(b.Length) != len(raw)-12 {
		t.Errorf("checksum %d, length %d of %d", b.CRC, b.Length, len(raw))
	}
	if b.Magic != 2 || b.Attributes != 0x10 || b.ProducerID != 7 || b.ProducerEpoch != 3 || b.FirstSequence != 11 || b.NumRecords != 3 ||
		b.LastOffsetDelta != 2 || b.FirstTimestamp != when.UnixMilli() || b.MaxTimestamp != when.Add(time.Hour).UnixMilli() {
		t.Errorf("%+v", b)
	}
	rest := b.Records
	for i, m := range messages {
		length, n := kbin.Varint(rest)
		var r kmsg.Record
		if err := r.ReadFrom(rest[:n+int(length)]); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		rest = rest[n+int(length):]
		if string(r.Key) != m.Key || (r.Key == nil) != (m.Key == "") || !bytes.Equal(r.Value, m.Payload) || (r.Value == nil) != (m.Payload == nil) ||
			int(r.OffsetDelta) != i || b.FirstTimestamp+r.TimestampDelta64 != m.Time.UnixMilli() {
			t.Errorf("record %d: %+v", i, r)
		}
		if i == 0 {
			var names string
			for _, h := range r.Headers {
				names += h.Key + "=" + string(h.Value) + " "
			}
			if want := "ce_id=a ce_source=/s ce_type=t ce_specversion=1.0 ce_time=2026-03-01T12:04:05.123456Z content-type=text/plain " +
				"ce_sequence=1772366645000-0000000000000004711 ce_partitionkey=müller Z=1 A= "; names != want {
				t.Errorf("headers %q\nwant %q", names, want)
			}
		}
	}
	if len(rest) > 0 {
		t.Errorf("%d bytes follow", len(rest))
	}
}

func TestAHeaderThatTheSinkSetsIsRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Content-Type", "ce_id", "CE_x"} {
		var e encoder
		_, err := e.encode(&relay.Message{Message: waybill.Message{Headers: []waybill.Header{{Name: name}}}})
		if !relay.IsRejected(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADeadlineInThePastEndsTheConnectionAtOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := Config{ConnectTimeout: time.Minute}.dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	_ = conn.SetWriteDeadline(time.Now()) // closed by then
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("it can be written to")
	}
}
