package kafka

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/waybillhq/waybill/cloudevents"
)

// Config is how a Sink connects and what it writes. The zero value works for a cluster without authentication.
type Config struct {
	// Source is the CloudEvents source of every message, a URI reference. Defaults to "/waybill/default".
	Source string

	// TransactionalID makes the brokers refuse an old owner of the relay that wakes up: every batch is a transaction under
	// this id, and a new owner takes it over. Give each relay its own, the same in every process. Defaults to none.
	TransactionalID string
	// Partitions counts the partitions of a topic that are used, for topics whose keys must stay where they are when the
	// topic grows. Defaults to all there are.
	Partitions map[string]int
	// MaxBatchBytes bounds one message with its key and headers, and one batch, before compression. Defaults to 1,000,000,
	// which brokers take unless configured otherwise (max.message.bytes).
	MaxBatchBytes int
	// Compression is "none", "gzip", "snappy", "lz4" or "zstd". Defaults to "none".
	Compression string

	// Create makes a topic that is missing. A topic that exists is never changed.
	Create bool
	// CreatePartitions, CreateReplicas and CreateMinInSync shape a created topic: partitions, replication factor and
	// min.insync.replicas. Each defaults to what the cluster has as default.
	CreatePartitions, CreateReplicas, CreateMinInSync int

	// SASL is how to log in: "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512" or "OAUTHBEARER". Defaults to no login.
	SASL string
	// User logs in, with Password or the password in PasswordFile. All files are read again at every connection; a line break
	// at their end does not count.
	User, Password, PasswordFile string
	// TokenFile holds the token of OAUTHBEARER.
	TokenFile string
	// PlaintextSecrets permits PLAIN and OAUTHBEARER without TLS, where everybody on the way reads password and token.
	PlaintextSecrets bool
	// TLS encrypts. CAFile and CertFile imply it.
	TLS bool
	// CAFile holds the certificates that may sign the brokers'. Defaults to the system's.
	CAFile string
	// CertFile and KeyFile are the client's certificate; both or neither.
	CertFile, KeyFile string
	// ConnectTimeout bounds one attempt to connect. Defaults to 2 s.
	ConnectTimeout time.Duration

	// Logger is told when a topic has another number of partitions than before. Defaults to none.
	Logger *slog.Logger
	// Options are more options of the client, such as kgo.Dialer. They cannot change kgo.RequiredAcks, kgo.MaxVersions and
	// kgo.RequestRetries, which the promise rests on; others of its producer have no effect.
	Options []kgo.Opt

	compressor kgo.Compressor
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (c Config) withDefaults(brokers string) (Config, []string, error) {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("waybill: WB4203 kafka sink: "+format, args...))
		}
	}
	if c.Source == "" {
		c.Source = cloudevents.DefaultSource
	}
	if c.MaxBatchBytes == 0 {
		c.MaxBatchBytes = 1_000_000
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 2 * time.Second
	}
	if c.Compression == "" {
		c.Compression = "none"
	}
	c.TLS = c.TLS || c.CAFile != "" || c.CertFile != ""
	codec, ok := codecs[c.Compression]
	need(ok, "Compression %q is none of none, gzip, snappy, lz4, zstd. Try: snappy", c.Compression)
	if c.Compression != "none" && ok {
		var err error
		c.compressor, err = kgo.DefaultCompressor(codec)
		need(err == nil, "Compression %q: %v. Try: none", c.Compression, err)
	}
	seeds := strings.FieldsFunc(strings.TrimPrefix(brokers, "kafka://"), func(r rune) bool { return r == ',' || r == ' ' })
	need(len(seeds) > 0, "no broker is named. Try: broker-1:9092,broker-2:9092")
	for i, seed := range seeds {
		if !strings.Contains(seed, ":") {
			seeds[i] = seed + ":9092"
		}
		_, _, err := net.SplitHostPort(seeds[i])
		need(err == nil && !strings.Contains(seed, "/") && !strings.Contains(seed, "@"), "broker %d is not host:port. Try: broker-1:9092, and User and PasswordFile for a login", i+1)
	}
	_, err := url.Parse(c.Source)
	need(err == nil, "Source %q is not a URI reference. Try: /waybill/orders", c.Source)
	need(c.MaxBatchBytes >= 1<<10 && c.MaxBatchBytes <= 64<<20, "MaxBatchBytes is %d, and must be 1 KiB to 64 MiB. Try: 1000000", c.MaxBatchBytes)
	need(c.ConnectTimeout > 0, "ConnectTimeout must be positive. Try: 2s")
	need((c.CertFile == "") == (c.KeyFile == ""), "CertFile and KeyFile belong together. Try: give both or neither")
	for topic, n := range c.Partitions {
		need(n > 0, "Partitions[%q] is %d. Try: the number of partitions that the topic had when its keys were first written", topic, n)
	}
	need(c.CreatePartitions >= 0 && c.CreateReplicas >= 0 && c.CreateMinInSync >= 0, "CreatePartitions, CreateReplicas and CreateMinInSync must not be negative. Try: leave them out for the cluster's defaults")
	need(c.CreateReplicas == 0 || c.CreateMinInSync <= c.CreateReplicas, "CreateMinInSync exceeds CreateReplicas: nothing could ever be stored. Try: 3 replicas, 2 in sync")
	switch c.SASL {
	case "":
		need(c.User == "" && c.Password == "" && c.PasswordFile == "" && c.TokenFile == "", "User, Password, PasswordFile and TokenFile need SASL. Try: SASL SCRAM-SHA-512")
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		need(c.User != "" && (c.Password == "") != (c.PasswordFile == ""), "SASL %s needs User, and Password or PasswordFile. Try: give both", c.SASL)
	case "OAUTHBEARER":
		need(c.TokenFile != "", "SASL OAUTHBEARER needs TokenFile. Try: name the file that your identity provider's agent writes")
	default:
		need(false, "SASL %q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER. Try: SCRAM-SHA-512", c.SASL)
	}
	if c.SASL == "PLAIN" || c.SASL == "OAUTHBEARER" {
		need(c.TLS || c.PlaintextSecrets, "SASL %s without TLS shows its secret to everybody on the way. Try: TLS, or SCRAM, or PlaintextSecrets on a network of your own", c.SASL)
	}
	return c, seeds, errors.Join(faults...)
}

func (c Config) options(seeds []string) []kgo.Opt {
	// Produce 11 is the last version where a partition joins a transaction only when it is told to, and every broker from
	// 0.11 to 4.x takes it; the other two are those that go with it.
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(0, 11)
	versions.SetMaxKeyVersion(24, 3)
	versions.SetMaxKeyVersion(26, 4)
	list := []kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.ClientID("waybill"), kgo.DisableClientMetrics(),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }), kgo.RequestTimeoutOverhead(5 * time.Second),
		kgo.Dialer(c.dial),
	}
	if m := c.mechanism(); m != nil {
		list = append(list, kgo.SASL(m))
	}
	// The client writes its own acks into every produce request.
	return append(append(list, c.Options...), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.MaxVersions(versions), kgo.RequestRetries(1))
}
