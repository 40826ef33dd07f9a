package sink_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/waybillhq/waybill/internal/testenv"
)

// What follows shows that the Kafka of testenv is what the tests of the sink take it for.

func kafkaClient(t *testing.T, brokers []string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.RetryTimeout(30 * time.Second)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func kafkaTopic(t *testing.T, k *testenv.Kafka, name string) {
	t.Helper()
	if _, err := kadm.NewClient(kafkaClient(t, k.Admin())).CreateTopic(t.Context(), 1, -1, nil, name); err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
}

func TestKafkaKeepsWhatItAcknowledgedThroughKill(t *testing.T) {
	t.Parallel()
	k := testenv.StartKafka(t, testenv.KafkaConfig{})
	kafkaTopic(t, k, "kept")
	writer := kafkaClient(t, k.Brokers(), kgo.DefaultProduceTopic("kept"))
	const count = 1000
	var records []*kgo.Record
	for n := range count {
		records = append(records, kgo.StringRecord(fmt.Sprint(n)))
	}
	if err := writer.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	k.Kill()
	k.Restart()
	reader := kafkaClient(t, k.Brokers(), kgo.ConsumeTopics("kept"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := 0; n < count; {
		for _, r := range reader.PollFetches(ctx).Records() {
			if string(r.Value) != fmt.Sprint(n) {
				t.Fatalf("record %d is %q", n, r.Value)
			}
			n++
		}
		if ctx.Err() != nil {
			t.Fatalf("%d of %d records", n, count)
		}
	}
}

func TestKafkaLetsInWhomItKnows(t *testing.T) {
	t.Parallel()
	const right = "pass%word"
	ca := newCA(t)
	cert, key := ca.issue(t, "broker", time.Hour, "127.0.0.1")
	k := testenv.StartKafka(t, testenv.KafkaConfig{
		SASL:     []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"},
		Users:    map[string]string{"alice": right, "bob": "b"},
		CertFile: write(t, "broker.crt", []byte(cert)), KeyFile: write(t, "broker.key", []byte(key)),
		ACL: true,
	})
	kafkaTopic(t, k, "orders")
	acls := kadm.NewACLs().Allow("User:alice").Topics("orders").Operations(kadm.OpWrite, kadm.OpDescribe).ResourcePatternType(kadm.ACLPatternLiteral)
	if _, err := kadm.NewClient(kafkaClient(t, k.Admin())).CreateACLs(t.Context(), acls); err != nil {
		t.Fatal(err)
	}
	token := func(user string) sasl.Mechanism {
		part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
		claims := fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d}`, user, time.Now().Unix(), time.Now().Add(time.Hour).Unix())
		return oauth.Auth{Token: part(`{"alg":"none"}`) + "." + part(claims) + "."}.AsMechanism()
	}
	for name, c := range map[string]struct {
		mechanism sasl.Mechanism
		want      error
	}{
		"plain":                {plain.Auth{User: "alice", Pass: right}.AsMechanism(), nil},
		"plain, wrong":         {plain.Auth{User: "alice", Pass: "x"}.AsMechanism(), kerr.SaslAuthenticationFailed},
		"scram 256":            {scram.Auth{User: "alice", Pass: right}.AsSha256Mechanism(), nil},
		"scram 512":            {scram.Auth{User: "alice", Pass: right}.AsSha512Mechanism(), nil},
		"scram, wrong":         {scram.Auth{User: "alice", Pass: "x"}.AsSha512Mechanism(), kerr.SaslAuthenticationFailed},
		"token":                {token("alice"), nil},
		"who has no ACL":       {plain.Auth{User: "bob", Pass: "b"}.AsMechanism(), kerr.TopicAuthorizationFailed},
		"token without an ACL": {token("bob"), kerr.TopicAuthorizationFailed},
	} {
		client := kafkaClient(t, k.Brokers(), kgo.SASL(c.mechanism), kgo.DialTLSConfig(&tls.Config{RootCAs: ca.pool()}))
		err := client.Ping(t.Context()) // which gives up, as producing does not
		if err == nil {
			err = client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders"}).FirstErr()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestKafkaAsksForAClientCertificate(t *testing.T) {
	t.Parallel()
	ca, others := newCA(t), newCA(t)
	cert, key := ca.issue(t, "broker", time.Hour, "127.0.0.1")
	caFile := write(t, "ca.crt", []byte(ca.pem))
	k := testenv.StartKafka(t, testenv.KafkaConfig{
		CertFile: write(t, "broker.crt", []byte(cert)), KeyFile: write(t, "broker.key", []byte(key)), ClientCAFile: caFile,
	})
	kafkaTopic(t, k, "orders")
	for name, by := range map[string]*authority{"known": ca, "unknown": others, "none": nil} {
		config := &tls.Config{RootCAs: ca.pool()}
		if by != nil {
			cert, key := by.issue(t, "client", time.Hour)
			pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		client := kafkaClient(t, k.Brokers(), kgo.DialTLSConfig(config), kgo.RetryTimeout(time.Second))
		err := client.Ping(t.Context())
		if (err == nil) != (by == ca) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
