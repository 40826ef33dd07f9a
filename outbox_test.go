package waybill

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/dialect"
)

// fakeTx has the shape of a pgx transaction and keeps what it is given.
type fakeTx struct {
	queries []string
	args    [][]any
	err     error
}

func (f *fakeTx) Exec(_ context.Context, query string, args ...any) (string, error) {
	f.queries, f.args = append(f.queries, query), append(f.args, args)
	return "INSERT 0 1", f.err
}
func (*fakeTx) Commit(context.Context) error   { return nil }
func (*fakeTx) Rollback(context.Context) error { return nil }

func TestNewNamesEveryFaultOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"WB4001 Config.Dialect":           {},
		"WB4201":                          {Dialect: dialect.Postgres, Table: `a"b; drop`},
		"WB4002 Limits.Payload is -1":     {Dialect: dialect.SQLite, Table: "a.b.c", Limits: Limits{Payload: -1}},
		"WB4002 Limits.TopicCharacters":   {Dialect: dialect.SQLite, Limits: Limits{TopicCharacters: "/*"}},
		`the name "a.b.c" is not a table`: {Dialect: dialect.SQLite, Table: "a.b.c", Limits: Limits{Payload: -1}},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Try: ") {
			t.Errorf("New(%+v): %v, want %s", cfg, err, want)
		}
	}
}

func TestPublishOfNoMessagesDoesNothing(t *testing.T) {
	t.Parallel()
	woken := false
	o := newOutbox(t, Config{Wake: func() { woken = true }})
	tx := &fakeTx{}
	if err := o.Publish(t.Context(), Pgx(tx)); err != nil || len(tx.queries) != 0 || woken {
		t.Errorf("error %v, statements %q, woken %v", err, tx.queries, woken)
	}
	if query, args, err := o.Statement(); query != "" || args != nil || err != nil {
		t.Errorf("Statement: %q, %v, %v", query, args, err)
	}
}

func TestPublishWithoutATransactionIsAnError(t *testing.T) {
	t.Parallel()
	o := newOutbox(t, Config{})
	for _, tx := range []Tx{nil, SQL(nil), Pgx[string](nil)} {
		if err := o.Publish(t.Context(), tx, with(func(*Message) {})); !errors.Is(err, ErrNoTx) {
			t.Errorf("got %v, want ErrNoTx", err)
		}
	}
}

func TestPublishWakesOnlyAfterASuccess(t *testing.T) {
	t.Parallel()
	woken := 0
	o := newOutbox(t, Config{Wake: func() { woken++ }})
	broken := errors.New("no connection")
	if err := o.Publish(t.Context(), Pgx(&fakeTx{err: broken}), with(func(*Message) {})); !errors.Is(err, broken) || !strings.Contains(err.Error(), "WB3002") || woken != 0 {
		t.Errorf("error %v, woken %d times", err, woken)
	}
	if err := o.Publish(t.Context(), Pgx(&fakeTx{}), with(func(*Message) {})); err != nil || woken != 1 {
		t.Errorf("error %v, woken %d times", err, woken)
	}
}

func TestPublishGivesIDsAndLeavesTheCallersMessagesAlone(t *testing.T) {
	t.Parallel()
	o := newOutbox(t, Config{Tracer: &fakeTracer{}})
	headers := make([]Header, 1, 8) // room to append into
	headers[0] = Header{"x-a", "1"}
	msgs := []Message{{Topic: "t", Type: "n", Headers: headers}, {Topic: "t", Type: "n"}}
	before := []Message{{Topic: "t", Type: "n", Headers: []Header{{"x-a", "1"}}}, {Topic: "t", Type: "n"}}
	tx := &fakeTx{}
	if err := o.Publish(t.Context(), Pgx(tx), msgs...); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(msgs, before) || headers[:2][1] != (Header{}) {
		t.Errorf("the caller's messages became %q", msgs)
	}
	ids := strings.Split(strings.Trim(tx.args[0][0].(string), `{}"`), `","`)
	if len(ids) != 2 || len(ids[0]) != 36 || ids[0] >= ids[1] {
		t.Errorf("ids %q, want two that grow", ids)
	}
}

// fakeTracer writes down the ids it was given and how their spans ended.
type fakeTracer struct {
	created []string
	ended   []error
}

type traceKey struct{}

func (f *fakeTracer) Create(ctx context.Context, m *Message) func(error) {
	f.created = append(f.created, m.ID)
	context, _ := ctx.Value(traceKey{}).(string)
	m.Headers = append(m.Headers, Header{"traceparent", context})
	return func(err error) { f.ended = append(f.ended, err) }
}

func TestPublishStoresWhatTheTracerAddsAndEndsEachSpan(t *testing.T) {
	t.Parallel()
	tracer := &fakeTracer{}
	o := newOutbox(t, Config{Tracer: tracer})
	ctx := context.WithValue(t.Context(), traceKey{}, "now")
	tx := &fakeTx{}
	if err := o.Publish(ctx, Pgx(tx), with(func(m *Message) { m.Headers = []Header{{"x-a", "1"}} })); err != nil {
		t.Fatal(err)
	}
	if got := tx.args[0][5]; got != `[["x-a","1"],["traceparent","now"]]` || tx.args[0][0] != tracer.created[0] {
		t.Errorf("stored headers %v, id %v, want id %v", got, tx.args[0][0], tracer.created)
	}
	broken := errors.New("no connection")
	if err := o.Publish(ctx, Pgx(&fakeTx{err: broken}), messages(2)...); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if len(tracer.created) != 3 || len(tracer.ended) != 3 || tracer.ended[0] != nil || !errors.Is(tracer.ended[2], broken) {
		t.Errorf("created %v, ended %v", tracer.created, tracer.ended)
	}
}

func TestTheStatementDependsOnlyOnOneMessageOrMore(t *testing.T) {
	t.Parallel()
	for _, d := range []dialect.Dialect{dialect.Postgres, dialect.SQLite} {
		o := newOutbox(t, Config{Dialect: d})
		texts := map[string]bool{}
		for n := 1; n < 50; n++ {
			query, _, err := o.Statement(messages(n)...)
			if err != nil {
				t.Fatal(err)
			}
			texts[query] = true
		}
		if len(texts) > 2 {
			t.Errorf("%s: %d statements, want at most 2", d.Name(), len(texts))
		}
	}
}

func messages(n int) []Message {
	msgs := make([]Message, n)
	for i := range msgs {
		msgs[i] = Message{Topic: "t", Type: "n", Payload: make([]byte, i)}
	}
	return msgs
}
