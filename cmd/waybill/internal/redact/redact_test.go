package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func TestAURLShowsAllButItsPassword(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, want string }{
		{"postgres://app:hunter22@db:5432/orders?sslmode=require", "postgres://app:***@db:5432/orders?sslmode=require"},
		{"postgres://app:hun/ter@2#2?x@db/orders", "postgres://app:***@db/orders"},
		{"postgres://app:hun ter\"2@db/orders", "postgres://app:***@db/orders"},
		{"postgres://app@db/orders", "postgres://app@db/orders"},
		{"postgres://db/orders?user=app&password=hunter22&application_name=x", "postgres://db/orders?user=app&password=***&application_name=x"},
		{"postgres://db/orders?sslpassword=hunter22", "postgres://db/orders?sslpassword=***"},
		{"nats://token@host:4222", "nats://***@host:4222"},
		{"nats://u:p@a:4222,nats://u:q@b:4222", "nats://u:***@a:4222,nats://u:***@b:4222"},
		{"tls://host:4222", "tls://host:4222"},
		{"sqlite:app.db", "sqlite:app.db"},
		{"sqlite:///var/lib/app.db", "sqlite:///var/lib/app.db"},
		{"data/app.db", "data/app.db"},
		{"nats:embedded?dir=data", "nats:embedded?dir=data"},
		{"hunter22", "***"},
		{"app:hunter22", "***"},
		{"", ""},
	} {
		s := NewSecret(test.url)
		if s.String() != test.want {
			t.Errorf("%s: got %s, want %s", test.url, s, test.want)
		}
		if s.Reveal() != test.url {
			t.Errorf("%s: Reveal gives %s", test.url, s.Reveal())
		}
	}
}

func TestASecretIsRedactedHoweverItIsPrinted(t *testing.T) {
	t.Parallel()
	type holder struct {
		URL Secret
		all map[string]Secret
	}
	const canary = "canary-7391"
	s := NewSecret("postgres://app:" + canary + "@db/orders")
	h := holder{s, map[string]Secret{"x": s}}
	encoded, err := json.Marshal(map[string]any{"s": s, "p": &s, "h": h})
	if err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	slog.New(slog.NewTextHandler(&logs, nil)).Info("x", "s", s, "h", h)
	slog.New(slog.NewJSONHandler(&logs, nil)).Info("x", "s", s, "h", h)
	all := fmt.Sprintf("%v %+v %#v %s %q %v %v", s, s, s, s, s, []Secret{s}, &s) + fmt.Sprintf("%+v", map[string]Secret{"a": s}) + string(encoded) + logs.String()
	if strings.Contains(all, canary) {
		t.Errorf("the secret is in %s", all)
	}
	if !strings.Contains(all, "app:***@db") {
		t.Errorf("the rest is not in %s", all)
	}
}

func TestLearnedSecretsAreMaskedInEveryForm(t *testing.T) {
	t.Parallel()
	const password = `p@ss "word\7391/é`
	encoded := url.UserPassword("app", password).String()
	var r Redactor
	r.Learn(NewSecret("postgres://" + encoded + "@db/orders"))
	quoted, _ := json.Marshal(password)
	for _, text := range []string{
		password, encoded, url.QueryEscape(password), url.PathEscape(password), string(quoted), strconv.Quote(password),
		fmt.Sprint(errors.New("cannot parse `postgres://" + encoded + "@db/orders`")),
	} {
		got := r.Text("before " + text + " after")
		if strings.Contains(got, "7391") || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
			t.Errorf("%s: got %s", text, got)
		}
	}
}

func TestAPasswordThatIsAnOrdinaryWordDoesNotGarbleTheText(t *testing.T) {
	t.Parallel()
	var r Redactor
	r.Learn(NewSecret("postgres://postgres:postgres@db/orders"), NewSecret("nats://app:app@h"))
	const text = `{"source":"postgres","mode":"app"} for postgres://postgres:postgres@db/orders`
	if got, want := r.Text(text), `{"source":"postgres","mode":"app"} for postgres://postgres:***@db/orders`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTextWithoutSecretsStaysAsItIs(t *testing.T) {
	t.Parallel()
	const text = "dial tcp 127.0.0.1:4222: see https://example.org/a?b=c, or write to ops@example.org at 10:00"
	var r Redactor
	if got := r.Text(text); got != text {
		t.Errorf("got %s", got)
	}
}
