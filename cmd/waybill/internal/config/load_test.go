package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// write makes a file waybill.yaml of its own and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "waybill.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const whole = `
listen: 127.0.0.1:9000
sources:
  orders:
    url: postgres://app:${env:PASSWORD}@db/orders
    from: now
    retention: {age: 7d}
sinks:
  main: {url: "nats://broker:4222"}
relays:
  orders-main:
    source: orders
    sink: main
    on_rejected: park
    window: 500
    window_bytes: 1MiB
    lease: 4s
`

func TestEveryFaultOfAFileIsReportedAtOnceWithItsLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text, want string
	}{
		{"not YAML", "sources:\n  a: [", `waybill: WB4501 F:2: not YAML: did not find expected node content`},
		{"two documents", "listen: off\n---\nlisten: off\n", `waybill: WB4501 F:2: not YAML: a second document begins, and a configuration is one`},
		{"not keys", "- a\n", `waybill: WB4503 F:1: the configuration: want keys with values, got a list`},
		{"unknown keys", "listn: x\nsinks:\n  main:\n    url: nats://h\n    brokr: 1\n    zzzzzzzz: 1\n",
			`waybill: WB4502 F:1: unknown key "listn" in the configuration (did you mean "listen"?)
waybill: WB4502 F:5: unknown key "brokr" in sinks.main
waybill: WB4502 F:6: unknown key "zzzzzzzz" in sinks.main`},
		{"a name given twice", "sinks:\n  main: {url: \"nats://a\"}\n  main: {url: \"nats://b\"}\n",
			`waybill: WB4504 F:3: "main" stands twice in sinks (first at F:2)`},
		{"keys of another kind of sink", "sinks:\n  a:\n    url: amqp://h\n    stream: x\n    exchnge: x\n  b:\n    exchange: x\n    url: nats://h\n    create: maybe\n",
			`waybill: WB4502 F:4: unknown key "stream" in sinks.a, which is a RabbitMQ sink: only nats:// and tls:// have it
waybill: WB4502 F:5: unknown key "exchnge" in sinks.a (did you mean "exchange"?)
waybill: WB4502 F:7: unknown key "exchange" in sinks.b, which is a JetStream sink: only amqp:// and amqps:// have it
waybill: WB4503 F:9: sinks.b.create: want true or false, got "maybe"`},
		{"keys of a sink that is of no kind", "sinks:\n  a: {url: mqtt://h, stream: x, exchange: y, zzzzz: 1}\n  b: {stream: x}\n",
			`waybill: WB4502 F:2: unknown key "zzzzz" in sinks.a
waybill: WB4505 F:3: sinks.b.url is required`},
		{"wrong types", "listen: [a]\nsinks: {main: {url: {a: b}}}\nsources: 3\nrelays: {r: {source: s, sink: main, window: many, window_bytes: 3 parsecs, lease: soon}}\n",
			`waybill: WB4503 F:1: listen: want one value, got a list
waybill: WB4503 F:4: relays.r.window: want a whole number, got "many"
waybill: WB4503 F:4: relays.r.window_bytes: want a size such as 16MiB, got "3 parsecs"
waybill: WB4503 F:4: relays.r.lease: want a duration such as 10s, got "soon"
waybill: WB4503 F:2: sinks.main.url: want one value, got keys with values
waybill: WB4503 F:3: sources: want keys with values, got one value
waybill: WB4507 F:4: relays.r.source: there is no source "s"`},
		{"a mode of later versions", "sources:\n  a:\n    url: postgres://h/d\n    mode: log\n",
			`waybill: WB4503 F:4: sources.a.mode: log is not part of this version, want one of cursor, flagged, got "log"`},
		{"a value that is none of those", "sources:\n  a:\n    url: postgres://h/d\n    mode: cursr\n    from: then\n",
			`waybill: WB4503 F:4: sources.a.mode: want one of cursor, flagged, got "cursr"
waybill: WB4503 F:5: sources.a.from: want one of beginning, now, got "then"`},
		{"numbers out of range", "sources: {a: {url: \"postgres://h/d\"}}\nsinks: {b: {url: \"nats://h\"}}\nrelays:\n  r:\n    source: a\n    sink: b\n    window: 0\n    window_bytes: -1\n    lease: 0s\n",
			`waybill: WB4503 F:7: relays.r.window: must be above 0, got "0"
waybill: WB4503 F:8: relays.r.window_bytes: must be above 0, got "-1"
waybill: WB4503 F:9: relays.r.lease: must be above 0, got "0s"`},
		{"a send timeout that outlives the lease", "sources: {a: {url: \"postgres://h/d\"}}\nsinks: {b: {url: \"nats://h\"}}\nrelays:\n  r:\n    source: a\n    sink: b\n    lease: 4s\n    send_timeout: 3s\n",
			`waybill: WB4508 F:8: relays.r.send_timeout: 3s must be at most half of lease (4s), or an old owner could write beside a new one`},
		{"what is required", "sources: {a: {}}\nsinks: {b: {url: \"\"}}\nrelays:\n  r: {sink: b}\n",
			`waybill: WB4505 F:4: relays.r.source is required
waybill: WB4503 F:2: sinks.b.url: must not be empty, got ""
waybill: WB4505 F:1: sources.a.url is required`},
		{"names that nobody has", "sources: {orders: {url: \"postgres://h/d\"}}\nrelays:\n  r:\n    source: order\n    sink: main\n",
			`waybill: WB4507 F:4: relays.r.source: there is no source "order" (did you mean "orders"?)
waybill: WB4507 F:5: relays.r.sink: there is no sink "main"`},
		{"what only flagged sources have", "sources:\n  a:\n    url: postgres://h/d\n    topic: x\n    columns: {pos: seq, psos: x}\n  b:\n    url: postgres://h/d\n    mode: flagged\n    from: now\n    columns: {pos: seq, created_at: \"-\"}\n    retention: {age: 7d}\n",
			`waybill: WB4502 F:5: unknown key "psos" in sources.a.columns (did you mean "pos"?)
waybill: WB4508 F:5: sources.a.columns.pos: only sources with mode: flagged may have it
waybill: WB4508 F:4: sources.a.topic: only sources with mode: flagged may have it
waybill: WB4508 F:9: sources.b.from: mode flagged publishes whatever is not marked; mark what is not wanted, by hand
waybill: WB4508 F:11: sources.b.retention.age: without a column created_at the age of a row is not known`},
		{"retention", "sources:\n  a: {url: \"postgres://h/d\", retention: 7d}\n  b: {url: \"postgres://h/d\", retention: {}}\n  c: {url: \"postgres://h/d\", retention: {age: 0s}}\n",
			`waybill: WB4503 F:2: sources.a.retention: want keys with values, got one value
waybill: WB4505 F:2: sources.a.retention.age is required
waybill: WB4505 F:3: sources.b.retention.age is required
waybill: WB4503 F:4: sources.c.retention.age: must be above 0, got "0s"`},
		{"two relays that mark the same rows", "sources: {a: {url: \"postgres://h/d\", mode: flagged}}\nsinks: {k: {url: \"nats://h\"}}\nrelays:\n  r: {source: a, sink: k}\n  s: {source: a, sink: k}\n",
			`waybill: WB4508 F:5: relays.s.source: relay "r" owns the source "a" already: in mode flagged a row is marked once, for one relay`},
		{"a fence that every service shares", "sources: {a: {url: \"postgres://h/d\"}}\nsinks:\n  k: {url: \"kafka://h\", fencing: true}\nrelays:\n  default: {source: a, sink: k}\n  named: {source: a, sink: k}\n",
			`waybill: WB4508 F:3: sinks.k.fencing: relay "default" would take the transactional id waybill-default, and every service with a relay of that name shuts out the others on the same cluster. Try: name the relay after the service, as relays.orders with source and sink`},
		{"topics", "sources: {a: {url: \"postgres://h/d\"}, f: {url: \"postgres://h/d\", mode: flagged}}\nsinks: {k: {url: \"nats://h\"}}\nrelays:\n  r:\n    source: a\n    sink: k\n    topics:\n      - orders.*\n      - orders.>\n      - \"\"\n      - orders.*\n  s: {source: a, sink: k, topics: []}\n  t: {source: f, sink: k, topics: [\"*\"]}\n",
			`waybill: WB4503 F:9: relays.r.topics[1]: "orders.>": no topic has a '>'; * stands for any run of characters, such as orders.*
waybill: WB4503 F:10: relays.r.topics[2]: must not be empty
waybill: WB4504 F:11: relays.r.topics[3]: "orders.*" stands twice
waybill: WB4503 F:12: relays.s.topics: want at least one pattern; leave the key out for every topic
waybill: WB4508 F:13: relays.t.topics: in mode flagged one relay owns the table: rows of other topics would never be marked, and be read again at every look; leave topics out, or use mode: cursor`},
		{"a bad name", "sinks: {\"a b\": {url: \"nats://h\"}}\n", `waybill: WB4503 F:1: sinks: the name "a b" may have only letters, digits and . _ -, and at most 63 of them`},
		{"references that lead nowhere", "sources:\n  a: {url: \"${env:NOBODY}\"}\n  b: {url: \"${file:/no/such/file}\"}\n  c: {url: \"${NOBODY}\"}\n  d: {url: \"${vault:x}\"}\n",
			`waybill: WB4506 F:2: sources.a.url: ${env:NOBODY}: the environment variable NOBODY is not set
waybill: WB4506 F:3: sources.b.url: ${file:/no/such/file}: open /no/such/file: no such file or directory
waybill: WB4506 F:4: sources.c.url: ${NOBODY} is not a reference: write ${env:NAME} or ${file:/path}
waybill: WB4506 F:5: sources.d.url: ${vault:x} is not a reference: write ${env:NAME} or ${file:/path}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, test.text)
			_, err := Load(Input{File: path})
			got := "no error"
			if err != nil {
				got = strings.ReplaceAll(err.Error(), path, "F")
			}
			if got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestAWholeFileIsReadWithDefaults(t *testing.T) {
	t.Parallel()
	c, err := Load(Input{File: write(t, whole), Env: []string{"PASSWORD=pa$$word"}})
	if err != nil {
		t.Fatal(err)
	}
	want := Relay{Source: "orders", Sink: "main", OnRejected: "park", Window: 500, WindowBytes: 1 << 20, Lease: 4 * time.Second, SendTimeout: 2 * time.Second}
	if got := c.Relays["orders-main"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s := c.Sources["orders"]
	if s.URL.Reveal() != "postgres://app:pa$$word@db/orders" || s.Mode != "cursor" || s.From != "now" || s.Retention.Age != 7*24*time.Hour {
		t.Errorf("got %q %+v", s.URL.Reveal(), s)
	}
	if len(c.Warnings) != 0 {
		t.Errorf("warnings %q", c.Warnings)
	}
}

func TestAFlagIsAboveAVariableAboveTheFileAboveTheDefault(t *testing.T) {
	t.Parallel()
	file := write(t, whole)
	password := "PASSWORD=x"
	for _, test := range []struct {
		name         string
		in           Input
		path         string
		value, where string
	}{
		{"default", Input{File: file, Env: []string{password}}, "relays.orders-main.send_timeout", "2s", "default"},
		{"file", Input{File: file, Env: []string{password}}, "listen", "127.0.0.1:9000", file + ":2"},
		{"variable", Input{File: file, Env: []string{password, "WAYBILL_LISTEN=off"}}, "listen", "off", "WAYBILL_LISTEN"},
		{"flag", Input{File: file, Env: []string{password, "WAYBILL_LISTEN=off"}, Flags: map[string]string{"listen": ":1"}}, "listen", ":1", "flag --listen"},
		{"an empty variable is none", Input{File: file, Env: []string{password, "WAYBILL_LISTEN="}}, "listen", "127.0.0.1:9000", file + ":2"},
		{"a variable with a path", Input{File: file, Env: []string{password, "WAYBILL_RELAYS__ORDERS_MAIN__WINDOW=7"}}, "relays.orders-main.window", "7", "WAYBILL_RELAYS__ORDERS_MAIN__WINDOW"},
		{"a variable that makes a name", Input{File: file, Env: []string{password, "WAYBILL_SINKS__SPARE__URL=nats://spare"}}, "sinks.spare.url", "nats://spare", "WAYBILL_SINKS__SPARE__URL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, err := Load(test.in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range c.Entries() {
				if e.Key == test.path {
					if e.Value != test.value || e.Origin != test.where {
						t.Errorf("got %+v, want %s from %s", e, test.value, test.where)
					}
					return
				}
			}
			t.Errorf("%s is not in %+v", test.path, c.Entries())
		})
	}
}

func TestTheURLChoosesTheDefaultsOfItsKind(t *testing.T) {
	t.Parallel()
	c, err := Load(Input{Env: []string{"WAYBILL_SINKS__A__URL=${env:BROKER}", "BROKER=amqps://h", "WAYBILL_SINKS__B__URL=nats:embedded?dir=x", "WAYBILL_SINKS__A__CREATE=true"}})
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Sinks["a"], c.Sinks["b"]
	c, err = Load(Input{File: write(t, "sinks: {k: {url: 'kafka+tls://a:1,b:2', fencing: true, sasl: PLAIN, user: u, password: '${env:P}', partitions: {orders.created: 12}}}"), Env: []string{"P=kafka://hunter22"}})
	if err != nil {
		t.Fatal(err)
	}
	k := c.Sinks["k"]
	if k.Kind() != "Kafka" || k.Kafka.MaxBatchBytes != 1_000_000 || !k.Kafka.Fencing || k.Kafka.Partitions["orders.created"] != 12 || k.Kafka.Password.Reveal() != "kafka://hunter22" {
		t.Errorf("got %+v", k)
	}
	shown := fmt.Sprint(c.Entries())
	if strings.Contains(shown, "hunter22") || !strings.Contains(shown, "{sinks.k.partitions.orders.created 12 ") || strings.Contains(shown, "create_replicas") {
		t.Errorf("shown %s", shown)
	}
	if a.Kind() != "RabbitMQ" || a.RabbitMQ.ConnectTimeout != 5*time.Second || !a.RabbitMQ.Create || a.JetStream.ConnectTimeout != 0 {
		t.Errorf("got %+v", a)
	}
	if b.Kind() != "JetStream" || b.JetStream.ConnectTimeout != 2*time.Second || b.JetStream.Create || b.RabbitMQ.ConnectTimeout != 0 {
		t.Errorf("got %+v", b)
	}
}

func TestTwoVariablesMakeARelay(t *testing.T) {
	t.Parallel()
	c, err := Load(Input{File: write(t, ""), Env: []string{"WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK=nats://h"}})
	if err != nil {
		t.Fatal(err)
	}
	r := c.Relays["default"]
	if r.Source != "default" || r.Sink != "default" || r.Window != 10_000 || len(c.Relays) != 1 {
		t.Errorf("got %+v", c.Relays)
	}
}

func TestTwoVariablesMakeNoRelayBesideThoseOfTheFile(t *testing.T) {
	t.Parallel()
	c, err := Load(Input{File: write(t, whole), Env: []string{"PASSWORD=x", "WAYBILL_SOURCE=sqlite:app.db", "WAYBILL_SINK=nats://h"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Relays) != 1 || len(c.Warnings) != 1 {
		t.Errorf("relays %v, warnings %q", c.Relays, c.Warnings)
	}
}

func TestFaultsOfVariablesNameThem(t *testing.T) {
	t.Parallel()
	_, err := Load(Input{File: write(t, ""), Env: []string{"WAYBILL_RELAY__A__WINDOW=1", "WAYBILL_SINKS__A__URL__B=1", "WAYBILL_SOURCES__B__MODE=log"}})
	want := `waybill: WB4502 WAYBILL_RELAY__A__WINDOW: unknown key "relay" in the configuration (did you mean "relays"?)
waybill: WB4503 WAYBILL_SINKS__A__URL__B: sinks.a.url: want one value, got keys with values
waybill: WB4505 WAYBILL_SOURCES__B__MODE: sources.b.url is required
waybill: WB4503 WAYBILL_SOURCES__B__MODE: sources.b.mode: log is not part of this version, want one of cursor, flagged, got "log"`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestVariablesOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	c, err := Load(Input{File: write(t, ""), Env: []string{"WAYBILL_PORT=tcp://10.0.0.1:80", "WAYBILL_SERVICE_HOST=10.0.0.1", "WAYBILL_SINKS=nats://h"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 1 || c.Warnings[0] != "the environment variable WAYBILL_SINKS means nothing (did you mean WAYBILL_SINK?)" {
		t.Errorf("warnings %q", c.Warnings)
	}
}

func TestSecretsComeFromFilesAndABareDollarIsADollar(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from-a-file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Input{File: write(t, "sources: {a: {url: 'postgres://u:${file:"+file+"}@h/$db$$'}}\n")})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Sources["a"].URL.Reveal(); got != "postgres://u:from-a-file@h/$db$$" {
		t.Errorf("got %q", got)
	}
}

func TestAPlainPasswordInTheFileIsAWarning(t *testing.T) {
	t.Parallel()
	path := write(t, "sources: {a: {url: 'postgres://u:hunter22@h/d'}}\nsinks:\n  k: {url: kafka://h, password: hunter22}\n  b: {url: 'nats://u:${env:PASSWORD}@h'}\n")
	c, err := Load(Input{File: path, Env: []string{"PASSWORD=hunter22"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 2 || !strings.HasPrefix(c.Warnings[0], path+":3: sinks.k.password has a password in plain text") || !strings.HasPrefix(c.Warnings[1], path+":1: sources.a.url has a password in plain text") {
		t.Errorf("warnings %q", c.Warnings)
	}
}

func TestTopicsThatNoRelayTakesAreAWarning(t *testing.T) {
	t.Parallel()
	const gap = `no relay of source "a" takes every topic: a message whose topic fits none of the patterns of r, s is never published`
	for _, test := range []struct{ r, s, source, want string }{
		{"[orders.*]", "[billing]", "", gap + ". waybill doctor compares them with the outbox"},
		{"[orders.*]", "[billing]", ", retention: {age: 1d}", gap + ", and retention deletes it. waybill doctor compares them with the outbox"},
		{"[orders.*]", `["*"]`, "", ""},
		{"[orders.*]", "null", "", ""},
	} {
		c, err := Load(Input{File: write(t, "sources: {a: {url: 'postgres://h/d'"+test.source+"}}\nsinks: {k: {url: 'nats://h'}}\nrelays: {r: {source: a, sink: k, topics: "+test.r+"}, s: {source: a, sink: k, topics: "+test.s+"}}\n")})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Warnings, "\n"); got != test.want {
			t.Errorf("topics %s and %s: got %q, want %q", test.r, test.s, got, test.want)
		}
	}
}

func TestAFileThatWasNamedMustExist(t *testing.T) {
	t.Parallel()
	_, err := Load(Input{File: filepath.Join(t.TempDir(), "none.yaml")})
	if err == nil || !strings.Contains(err.Error(), "WB4501 cannot read the configuration: open ") {
		t.Errorf("got %v", err)
	}
}

func TestEveryDefaultIsAValidValue(t *testing.T) {
	t.Parallel()
	for _, example := range []any{Config{}, Source{}, Columns{}, Sink{}, JetStream{}, Kafka{}, RabbitMQ{}, Relay{}} {
		v := reflect.New(reflect.TypeOf(example)).Elem()
		for f := range fields(v) {
			if text := f.Tag.Get("default"); text != "" {
				if err := set(v.FieldByIndex(f.Index), text, f.Tag); err != nil {
					t.Errorf("%T.%s: %q %v", example, f.Name, text, err)
				}
			}
		}
	}
}

func FuzzNoFileMakesLoadPanic(f *testing.F) {
	f.Add(whole)
	f.Add("a: &a {b: *a}\n")
	f.Add("sources: &s\n  a: {url: x}\nsinks: *s\n<<: *s\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = Load(Input{File: write(t, text), Env: []string{"WAYBILL_SINKS__A__URL=nats://h"}})
	})
}
