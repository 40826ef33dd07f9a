package main

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/waybillhq/waybill/cmd/waybill/internal/broker"
	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/jetstream"
)

// openSink makes the sink of one relay; uri is the CloudEvents source of its messages. It connects to nothing. brokers starts
// and keeps the servers that live in this process; nil starts none.
func openSink(s config.Sink, uri string, brokers *broker.Servers) (relay.Sink, error) {
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
	for server := range strings.SplitSeq(text, ",") {
		if !strings.HasPrefix(server, "nats://") && !strings.HasPrefix(server, "tls://") {
			return nil, fmt.Errorf("no sink writes to such a URL, want nats://, tls:// or nats:embedded?dir=DIR")
		}
		if _, err := url.Parse(server); err != nil {
			return nil, errURL
		}
	}
	return jetstream.New(text, cfg)
}
