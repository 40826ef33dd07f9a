package sink_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/sink/kafka"
)

func unsecuredToken(user string, life time.Duration) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	claims := fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d}`, user, time.Now().Unix(), time.Now().Add(life).Unix())
	return part(`{"alg":"none"}`) + "." + part(claims) + "."
}

// wantOutcome publishes one message within two seconds, as a relay does, and wants the text in the error; "" for none.
func wantOutcome(t *testing.T, sink *kafka.Sink, topic, name, want string) {
	t.Helper()
	err := send(t, sink, 2*time.Second, message(topic, "1"))[0]
	if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v\nwant %q", name, err, want)
	}
	if err != nil && strings.Contains(err.Error(), "canary") {
		t.Errorf("%s shows a secret: %v", name, err)
	}
}

func TestEachWayToLogInToApacheKafkaWorksAndEachFaultIsNamed(t *testing.T) {
	t.Parallel()
	ca, others := newCA(t), newCA(t)
	cert, key := ca.issue(t, "broker", time.Hour, "127.0.0.1")
	k := testenv.StartKafka(t, testenv.KafkaConfig{
		SASL:     []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"},
		Users:    map[string]string{"alice": "right", "bob": "b"},
		CertFile: write(t, "broker.crt", []byte(cert)), KeyFile: write(t, "broker.key", []byte(key)),
		ACL: true,
	})
	c := realConsumer(k, "orders")
	c.create(t, 1, 1, "orders", nil)
	c.create(t, 1, 1, "secret", nil)
	grant := kadm.NewACLs().Allow("User:alice").Topics("orders").TransactionalIDs("relay-1").
		Operations(kadm.OpWrite, kadm.OpDescribe).ResourcePatternType(kadm.ACLPatternLiteral)
	if _, err := c.admin(t).CreateACLs(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	c.create(t, 1, 1, "looked-at", nil)
	look := kadm.NewACLs().Allow("User:alice").Topics("looked-at").Operations(kadm.OpDescribe, kadm.OpDescribeConfigs).ResourcePatternType(kadm.ACLPatternLiteral)
	if _, err := c.admin(t).CreateACLs(t.Context(), look); err != nil {
		t.Fatal(err)
	}
	file := func(text string) string { return write(t, "secret", []byte(text+"\n")) }
	caFile := write(t, "ca.crt", []byte(ca.pem))
	base := kafka.Config{CAFile: caFile, SASL: "SCRAM-SHA-512", User: "alice", PasswordFile: file("right")}
	wantFound(t, realSink(t, k, base), "secret looked-at", "WB2312 WB2312 WB2332 WB2333")
	wantFound(t, realSink(t, k, base), "orders", "WB2331")
	for name, of := range map[string]struct {
		topic, want string
		change      func(*kafka.Config)
	}{
		"scram 512":               {"orders", "", func(c *kafka.Config) {}},
		"scram 256":               {"orders", "", func(c *kafka.Config) { c.SASL = "SCRAM-SHA-256" }},
		"plain":                   {"orders", "", func(c *kafka.Config) { c.SASL = "PLAIN" }},
		"token":                   {"orders", "", func(c *kafka.Config) { c.SASL, c.TokenFile = "OAUTHBEARER", file(unsecuredToken("alice", time.Hour)) }},
		"with a fence":            {"orders", "", func(c *kafka.Config) { c.TransactionalID = "relay-1" }},
		"another's fence":         {"orders", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", func(c *kafka.Config) { c.TransactionalID = "relay-2" }},
		"forbidden topic":         {"secret", "WB2312", func(c *kafka.Config) {}},
		"wrong password":          {"orders", "SASL_AUTHENTICATION_FAILED", func(c *kafka.Config) { c.PasswordFile = file("canary") }},
		"plain, wrong password":   {"orders", "SASL_AUTHENTICATION_FAILED", func(c *kafka.Config) { c.SASL, c.PasswordFile = "PLAIN", file("canary") }},
		"expired token":           {"orders", "WB2301", func(c *kafka.Config) { c.SASL, c.TokenFile = "OAUTHBEARER", file(unsecuredToken("alice", -time.Hour)) }},
		"no file":                 {"orders", "no such file", func(c *kafka.Config) { c.PasswordFile += "x" }},
		"empty file":              {"orders", "is empty", func(c *kafka.Config) { c.PasswordFile = file("") }},
		"no login":                {"orders", "WB23", func(c *kafka.Config) { c.SASL, c.User, c.PasswordFile = "", "", "" }},
		"unknown authority":       {"orders", "certificate signed by unknown authority", func(c *kafka.Config) { c.CAFile = write(t, "other.crt", []byte(others.pem)) }},
		"no certificate in there": {"orders", "holds no certificate", func(c *kafka.Config) { c.CAFile = file("x") }},
	} {
		config := base
		of.change(&config)
		for range 2 { // what failed once fails the same way again
			wantOutcome(t, realSink(t, k, config), of.topic, name, of.want)
		}
	}
	localhost := newKafka(t, strings.ReplaceAll(strings.Join(k.Brokers(), ","), "127.0.0.1", "localhost"), base)
	t.Cleanup(func() { localhost.Close() })
	wantOutcome(t, localhost, "orders", "wrong host", "wanted to match localhost")
	plain := newKafka(t, strings.Join(k.Admin(), ","), base)
	t.Cleanup(func() { plain.Close() })
	wantOutcome(t, plain, "orders", "TLS to a broker without", "WB2301")
	if _, err := kafka.New("b:9092", kafka.Config{SASL: "PLAIN", User: "u", PasswordFile: "f"}); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("a password in plain text: %v", err)
	}

	// A permission that is taken away, and given again.
	sink := realSink(t, k, base)
	wantOutcome(t, sink, "orders", "before", "")
	admin := c.admin(t)
	if _, err := admin.DeleteACLs(t.Context(), kadm.NewACLs().Allow("User:alice").AllowHosts().Deny().DenyHosts().Topics("orders").TransactionalIDs().Operations(kadm.OpAny).ResourcePatternType(kadm.ACLPatternAny)); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return class(send(t, sink, 2*time.Second, message("orders", "1"))[0]) == "topic" })
	if _, err := admin.CreateACLs(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return send(t, sink, 2*time.Second, message("orders", "1"))[0] == nil })
}

func TestSecretsAndCertificatesOfApacheKafkaAreReadAgain(t *testing.T) {
	t.Parallel()
	ca, others := newCA(t), newCA(t)
	cert, key := ca.issue(t, "broker", time.Hour, "127.0.0.1")
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	caFile := put("ca.crt", ca.pem)
	k := testenv.StartKafka(t, testenv.KafkaConfig{
		SASL: []string{"SCRAM-SHA-512"}, Users: map[string]string{"alice": "first"},
		CertFile: put("broker.crt", cert), KeyFile: put("broker.key", key), ClientCAFile: caFile,
	})
	c := realConsumer(k, "orders")
	c.create(t, 1, 1, "orders", nil)
	config := kafka.Config{CAFile: caFile, SASL: "SCRAM-SHA-512", User: "alice", PasswordFile: put("password", "first"),
		CertFile: filepath.Join(dir, "client.crt"), KeyFile: filepath.Join(dir, "client.key")}
	own := func(by *authority, life time.Duration) {
		cert, key := by.issue(t, "client", life)
		put("client.crt", cert)
		put("client.key", key)
	}
	bare := config
	bare.CertFile, bare.KeyFile = "", ""
	wantOutcome(t, realSink(t, k, bare), "orders", "no certificate", "WB2301")
	own(others, time.Hour)
	sink := realSink(t, k, config) // one sink that lives through all that follows
	wantOutcome(t, sink, "orders", "a stranger's certificate", "WB2301")
	own(ca, -time.Minute)
	wantOutcome(t, sink, "orders", "an expired certificate", "WB2301")
	own(ca, time.Hour)
	wantOutcome(t, sink, "orders", "a good one", "")

	// The password changes while the connection lives, which only a new connection asks for.
	change := kadm.UpsertSCRAM{User: "alice", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: "second"}
	if _, err := c.admin(t).AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{change}); err != nil {
		t.Fatal(err)
	}
	k.Stop()
	k.Restart()
	until(t, func() bool {
		err := send(t, sink, 2*time.Second, message("orders", "2"))[0]
		return err != nil && strings.Contains(err.Error(), "SASL_AUTHENTICATION_FAILED")
	})
	put("password", "second")
	until(t, func() bool { return send(t, sink, 2*time.Second, message("orders", "3"))[0] == nil })
}

// until tries a thing that takes servers a while.
func until(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come in a minute")
		}
	}
}
