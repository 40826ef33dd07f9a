package rabbitmq

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// heartbeat is asked of the server: a connection without life is noticed after 1.5 times of it.
const heartbeat = 10 * time.Second

// dial connects by itself and not through the client: names, secrets and certificates are looked up anew, within ctx, and
// the socket stays in our hands, to be cut when a write is stuck in it.
func dial(ctx context.Context, config *Config, to server) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout)
	defer cancel()
	user, password, err := config.login(to)
	if err != nil {
		return nil, err
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", to.address)
	if err != nil {
		return nil, err
	}
	inTime := context.AfterFunc(ctx, func() { raw.Close() })
	conn := raw
	if to.tls {
		settings, err := config.tls(to.uri.Host)
		if err != nil {
			raw.Close()
			return nil, err
		}
		secure := tls.Client(raw, settings)
		if err := secure.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		conn = secure
	}
	mechanism := []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}
	if config.External {
		mechanism = []amqp.Authentication{&amqp.ExternalAuth{}}
	}
	client, err := amqp.Open(conn, amqp.Config{
		SASL: mechanism, Vhost: to.uri.Vhost, Heartbeat: heartbeat, FrameSize: 128 << 10, Locale: "en_US",
		Properties: amqp.Table{"product": "waybill", "connection_name": "waybill " + config.Source},
	})
	var l *link
	if err == nil {
		l, err = newLink(config, client, raw)
	}
	if err == nil && !inTime() {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		if errors.Is(err, amqp.ErrCredentials) && !config.External {
			err = fmt.Errorf("the server did not let user %q in", user)
		}
		return nil, err
	}
	return l, nil
}

func (c *Config) tls(host string) (*tls.Config, error) {
	settings := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, err
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return settings, nil
}
