package main

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/waybillhq/waybill/cmd/waybill/internal/broker"
	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
	"github.com/waybillhq/waybill/sink/kafka"
	"github.com/waybillhq/waybill/sink/rabbitmq"
)

// sinkUse is for whom a sink is made.
type sinkUse struct {
	relay   string
	uri     string          // the CloudEvents source of its messages
	brokers *broker.Servers // starts and keeps the servers that live in this process; nil starts none, and their sink is nil
	log     *slog.Logger    // may be nil
}

// openSink makes the sink of one relay. It connects to nothing.
func openSink(s config.Sink, use sinkUse) (relay.Sink, error) {
	switch s.Kind() {
	case "JetStream":
		return openJetStream(s, use.uri, use.brokers)
	case "Kafka":
		return openKafka(s, use)
	case "RabbitMQ":
		return openRabbitMQ(s, use.uri)
	}
	return nil, fmt.Errorf("no sink writes to such a URL, want one that begins with %s", strings.Join(config.SinkSchemes(), ", "))
}

func openJetStream(s config.Sink, uri string, brokers *broker.Servers) (relay.Sink, error) {
	j := s.JetStream
	cfg := jetstream.Config{
		Source: uri, Stream: j.Stream, Create: j.Create, Subjects: j.Subjects, Duplicates: j.Duplicates, Replicas: j.Replicas, MaxBytes: int64(j.MaxBytes),
		CredentialsFile: j.CredentialsFile, NKeyFile: j.NKeyFile, CAFile: j.CAFile, CertFile: j.CertFile, KeyFile: j.KeyFile, ConnectTimeout: j.ConnectTimeout,
	}
	text := s.URL.Reveal()
	if options, ok := strings.CutPrefix(text, "nats:embedded"); ok {
		values, err := url.ParseQuery(strings.TrimPrefix(options, "?"))
		if err != nil {
			return nil, fmt.Errorf("want nats:embedded?dir=DIR")
		}
		embedded, err := broker.Parse(values)
		if err != nil || brokers == nil {
			return nil, err
		}
		server, err := brokers.Start(embedded)
		if err != nil {
			return nil, err
		}
		cfg.Options = append(cfg.Options, nats.InProcessServer(server))
		return jetstream.New("", cfg)
	}
	if err := each(text, "nats://", "tls://"); err != nil {
		return nil, err
	}
	return jetstream.New(text, cfg)
}

func openKafka(s config.Sink, use sinkUse) (relay.Sink, error) {
	scheme, servers, _ := strings.Cut(s.URL.Reveal(), "://")
	k := s.Kafka
	cfg := kafka.Config{
		Source: use.uri, Compression: k.Compression, Create: k.Create, CreateMinInSync: k.CreateMinInSync, CreatePartitions: k.CreatePartitions, CreateReplicas: k.CreateReplicas,
		MaxBatchBytes: int(k.MaxBatchBytes), Partitions: k.Partitions, SASL: k.SASL, User: k.User, Password: k.Password.Reveal(), PasswordFile: k.PasswordFile, TokenFile: k.TokenFile,
		PlaintextSecrets: k.PlaintextSecrets, TLS: strings.EqualFold(scheme, "kafka+tls"), CAFile: k.CAFile, CertFile: k.CertFile, KeyFile: k.KeyFile, ConnectTimeout: k.ConnectTimeout, Logger: use.log,
	}
	if k.Fencing {
		cfg.TransactionalID = "waybill-" + use.relay
	}
	if at := strings.LastIndexByte(servers, '@'); at >= 0 {
		login, err := url.Parse("kafka://" + servers[:at] + "@h")
		if err != nil || login.User == nil || cfg.User != "" || cfg.Password != "" {
			return nil, fmt.Errorf("want kafka://user:password@host:9092, the password percent-encoded, or the keys user and password")
		}
		cfg.User = login.User.Username()
		cfg.Password, _ = login.User.Password()
		servers = servers[at+1:]
	}
	return kafka.New(strings.TrimSuffix(servers, "/"), cfg)
}

func openRabbitMQ(s config.Sink, uri string) (relay.Sink, error) {
	text, r := s.URL.Reveal(), s.RabbitMQ
	if err := each(text, "amqp://", "amqps://"); err != nil {
		return nil, err
	}
	return rabbitmq.New(text, rabbitmq.Config{
		Source: uri, Exchange: r.Exchange, Create: r.Create, MaxMessageBytes: int(r.MaxMessageBytes), ManagementURL: r.ManagementURL.Reveal(),
		UserFile: r.UserFile, PasswordFile: r.PasswordFile, External: r.External, CAFile: r.CAFile, CertFile: r.CertFile, KeyFile: r.KeyFile, ConnectTimeout: r.ConnectTimeout,
	})
}

// each sees that every server of a list begins with one of the schemes and is a URL. No error may hold its text.
func each(servers string, schemes ...string) error {
	for server := range strings.SplitSeq(servers, ",") {
		known := false
		for _, scheme := range schemes {
			known = known || strings.HasPrefix(server, scheme)
		}
		if !known {
			return fmt.Errorf("want servers that begin with %s, separated by commas", strings.Join(schemes, " or "))
		}
		if _, err := url.Parse(server); err != nil {
			return errURL
		}
	}
	return nil
}
