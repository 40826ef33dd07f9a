package waybill

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/dialect"
)

func newOutbox(t testing.TB, cfg Config) *Outbox {
	t.Helper()
	if cfg.Dialect == nil {
		cfg.Dialect = dialect.Postgres
	}
	o, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func with(change func(m *Message)) Message {
	m := Message{Topic: "orders", Type: "order.created"}
	change(&m)
	return m
}

func header(name, value string) Message {
	return with(func(m *Message) { m.Headers = []Header{{name, value}} })
}

func TestValidateAcceptsEverythingUpToTheLimits(t *testing.T) {
	t.Parallel()
	o := newOutbox(t, Config{})
	many := make([]Header, 64)
	for i := range many {
		many[i] = Header{fmt.Sprint("x-", i), strings.Repeat("v", 240)}
	}
	for _, m := range []Message{
		with(func(*Message) {}),
		with(func(m *Message) { m.Topic = "a.b_c-D.9" }),
		with(func(m *Message) { m.Topic = strings.Repeat("t", 249) }),
		with(func(m *Message) { m.Type = strings.Repeat("€", 85) }),
		with(func(m *Message) { m.Key = strings.Repeat("k", 1024) }),
		with(func(m *Message) { m.Key = "any {text} \"with\" \\ spaces € 𝄞" }),
		with(func(m *Message) { m.ID = strings.Repeat("~", 128) }),
		with(func(m *Message) { m.Payload = make([]byte, 900<<10) }),
		with(func(m *Message) { m.ContentType = `text/plain; charset="utf-8"` }),
		with(func(m *Message) { m.Headers = many }),
		with(func(m *Message) { m.Time = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }),
		header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
		header("tracestate", "a=b"),
		header("x!#$%&'*+-.^_`|~", "€ and \"more\" \\"),
	} {
		if err := o.Validate(m); err != nil {
			t.Error(err)
		}
	}
}

func TestValidateNamesFieldValueRuleAndWhatToDo(t *testing.T) {
	t.Parallel()
	o := newOutbox(t, Config{Topics: []string{"orders", "payments"}})
	limit := newOutbox(t, Config{Limits: Limits{Payload: 3, Headers: 1, HeaderBytes: 10, Key: 3, Topic: 6}})
	for _, c := range []struct {
		o       *Outbox
		message Message
		err     error
		text    string
	}{
		{o, with(func(m *Message) { m.Topic = "" }), ErrRequired, `WB3101 messages[0].Topic is required`},
		{o, with(func(m *Message) { m.Type = "" }), ErrRequired, `WB3101 messages[0].Type is required`},
		{o, with(func(m *Message) { m.Topic = "ordres" }), ErrTopicUnknown, `WB3106 messages[0].Topic "ordres" is not in Config.Topics: known are orders, payments`},
		{o, with(func(m *Message) { m.Topic = "orders/eu" }), ErrCharacters, `byte 6 is '/'`},
		{o, with(func(m *Message) { m.Topic = "orders.*" }), ErrCharacters, `'*'`},
		{o, with(func(m *Message) { m.Topic = "a b" }), ErrCharacters, `' '`},
		{o, with(func(m *Message) { m.Topic = "ördres" }), ErrCharacters, `'ö'`},
		{o, with(func(m *Message) { m.Topic = "a..b" }), ErrCharacters, "between dots is empty"},
		{o, with(func(m *Message) { m.Topic = ".a" }), ErrCharacters, "between dots is empty"},
		{o, with(func(m *Message) { m.Topic = "a." }), ErrCharacters, "between dots is empty"},
		{o, with(func(m *Message) { m.Topic = strings.Repeat("t", 250) }), ErrTooLarge, "250 bytes, at most 249"},
		{o, with(func(m *Message) { m.Type = strings.Repeat("t", 256) }), ErrTooLarge, "256 bytes, at most 255"},
		{o, with(func(m *Message) { m.Type = "a\nb" }), ErrCharacters, "byte 1 is the control character U+000A"},
		{o, with(func(m *Message) { m.Key = "a\x00b" }), ErrCharacters, "U+0000"},
		{o, with(func(m *Message) { m.Key = "a\xff" }), ErrCharacters, "not valid UTF-8"},
		{o, with(func(m *Message) { m.Key = strings.Repeat("k", 1025) }), ErrTooLarge, "1025 bytes, at most 1024"},
		{o, with(func(m *Message) { m.ID = strings.Repeat("i", 129) }), ErrTooLarge, "129 bytes, at most 128"},
		{o, with(func(m *Message) { m.ID = "a b" }), ErrCharacters, "byte 1 is ' '"},
		{o, with(func(m *Message) { m.ContentType = "text/plain\r\n" }), ErrCharacters, `byte 10 is '\r'`},
		{o, with(func(m *Message) { m.Payload = make([]byte, 900<<10+1) }), ErrTooLarge, "921601 bytes, at most 921600"},
		{o, with(func(m *Message) {
			m.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600)).Add(2 * time.Hour)
		}), ErrTime, "year in UTC is 10000"},
		{o, with(func(m *Message) { m.Time = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC) }), ErrTime, "year in UTC is 0"},
		{o, with(func(m *Message) { m.DeliverAt = time.Now() }), ErrScheduled, "WB3108"},
		{o, header("", "v"), ErrRequired, `messages[0].Headers[""]`},
		{o, header("a b", "v"), ErrCharacters, "byte 1 of the name is ' '"},
		{o, header("a:b", "v"), ErrCharacters, "':'"},
		{o, header("ä", "v"), ErrCharacters, "'ä'"},
		{o, header(strings.Repeat("n", 256), "v"), ErrTooLarge, "256 bytes, at most 255"},
		{o, header("x-a", "a\nb"), ErrCharacters, `messages[0].Headers["x-a"] "a\nb" holds a character that is not allowed: byte 1 is the control character U+000A. Try: encode`},
		{o, header("x-a", "\xff"), ErrCharacters, "not valid UTF-8"},
		{o, with(func(m *Message) { m.Headers = []Header{{"x-a", "1"}, {"X-A", "2"}} }), ErrDuplicate, `Headers["X-A"]`},
		{o, with(func(m *Message) { m.Headers = make([]Header, 65) }), ErrTooLarge, "65 headers, at most 64"},
		{o, with(func(m *Message) { m.Headers = []Header{{"x", strings.Repeat("v", 16<<10)}} }), ErrTooLarge, "16385 bytes of names and values, at most 16384"},
		{limit, with(func(m *Message) { m.Payload = []byte("1234") }), ErrTooLarge, "4 bytes, at most 3"},
		{limit, with(func(m *Message) { m.Key = "1234" }), ErrTooLarge, "4 bytes, at most 3"},
		{limit, with(func(m *Message) { m.Topic = "1234567" }), ErrTooLarge, "7 bytes, at most 6"},
		{limit, with(func(m *Message) { m.Headers = []Header{{"a", ""}, {"b", ""}} }), ErrTooLarge, "2 headers, at most 1"},
		{limit, with(func(m *Message) { m.Headers = []Header{{"a", "1234567890"}} }), ErrTooLarge, "11 bytes of names and values, at most 10"},
	} {
		err := c.o.Validate(c.message)
		var field *FieldError
		if !errors.Is(err, c.err) || !errors.As(err, &field) {
			t.Errorf("got %v, want %v", err, c.err)
			continue
		}
		if !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), ". Try: ") || len(err.Error()) > 8000 {
			t.Errorf("got %v, want it to say %s", err, c.text)
		}
	}
}

func TestReservedHeaderNamesAreRefusedInAnyCase(t *testing.T) {
	t.Parallel()
	o := newOutbox(t, Config{})
	for _, name := range []string{
		"waybill-id", "Nats-Msg-Id", "nats-rollup", "ce-id", "ce_type", "cloudEvents_id", "x-death", "CC", "bcc", "Host", "Content-Length", "content-type",
		"Transfer-Encoding", "connection", "AUTHORIZATION", "Proxy-Authorization", "x-first-death-queue", "cookie",
	} {
		if err := o.Validate(header(name, "v")); !errors.Is(err, ErrReserved) {
			t.Errorf("%s: %v, want ErrReserved", name, err)
		}
	}
}

func TestValidateReturnsTheFaultsOfAllMessagesTogether(t *testing.T) {
	t.Parallel()
	o := newOutbox(t, Config{})
	err := o.Validate(with(func(*Message) {}), with(func(m *Message) { m.Topic, m.Key = "", "\x00" }), header("x a", "\n"))
	for _, want := range []string{"messages[1].Topic", "messages[1].Key", `messages[2].Headers["x a"]`, "of the name", "control character U+000A"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in\n%v", want, err)
		}
	}
	if err := o.Validate(make([]Message, 100_000)...); err == nil || len(err.Error()) > 10_000 || !strings.Contains(err.Error(), "99990 further messages were not checked") {
		t.Errorf("the faults of 100,000 messages fill the log: %.200v", err)
	}
}

func TestThePayloadsOfOneCallFitInOneParameter(t *testing.T) {
	t.Parallel()
	body := make([]byte, 900<<10)
	msgs := make([]Message, 300)
	for i := range msgs {
		msgs[i] = with(func(m *Message) { m.Payload = body })
	}
	if err := newOutbox(t, Config{}).Validate(msgs...); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "messages[291].Payload") {
		t.Errorf("got %v", err)
	}
}

func TestMoreTopicCharactersAreAllowedByConfiguration(t *testing.T) {
	t.Parallel()
	o := newOutbox(t, Config{Limits: Limits{TopicCharacters: "/:"}})
	if err := o.Validate(with(func(m *Message) { m.Topic = "orders/eu:1" })); err != nil {
		t.Error(err)
	}
	if err := o.Validate(with(func(m *Message) { m.Topic = "orders@eu" })); !errors.Is(err, ErrCharacters) {
		t.Errorf("got %v, want ErrCharacters", err)
	}
}

func TestALongValueIsShortenedAtACharacter(t *testing.T) {
	t.Parallel()
	if got := shorten(strings.Repeat("x", 39) + "€"); got != strings.Repeat("x", 39)+"…" {
		t.Errorf("got %q", got)
	}
	if got := shorten(strings.Repeat("\xff", 50)); len(got) > 45 {
		t.Errorf("got %q", got)
	}
}
