package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// dial connects, with everything that can change read anew: names, certificates, and in mechanism the secrets.
func (c Config) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn = &wire{TCPConn: conn.(*net.TCPConn)}
	if !c.TLS {
		return conn, nil
	}
	config, err := c.tls(address)
	if err != nil {
		conn.Close()
		return nil, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

func (c Config) tls(address string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (c Config) mechanism() sasl.Mechanism {
	login := func(context.Context) (scram.Auth, error) {
		password, err := c.Password, error(nil)
		if c.PasswordFile != "" {
			password, err = readSecret(c.PasswordFile)
		}
		return scram.Auth{User: c.User, Pass: password}, err
	}
	switch c.SASL {
	case "PLAIN":
		return plain.Plain(func(ctx context.Context) (plain.Auth, error) {
			auth, err := login(ctx)
			return plain.Auth{User: auth.User, Pass: auth.Pass}, err
		})
	case "SCRAM-SHA-256":
		return scram.Sha256(login)
	case "SCRAM-SHA-512":
		return scram.Sha512(login)
	case "OAUTHBEARER":
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := readSecret(c.TokenFile)
			return oauth.Auth{Token: token}, err
		})
	}
	return nil
}

func readSecret(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err == nil && len(bytes.TrimSpace(b)) == 0 {
		err = errors.New(file + " is empty")
	}
	return string(bytes.TrimRight(b, "\r\n")), err
}

// wire is a connection whose bytes stop where they are when the time for them is over: the client sets a deadline in the
// past then, and what the operating system has not sent yet is thrown away with the connection.
type wire struct{ *net.TCPConn }

func (w *wire) SetDeadline(t time.Time) error      { w.past(t); return w.TCPConn.SetDeadline(t) }
func (w *wire) SetReadDeadline(t time.Time) error  { w.past(t); return w.TCPConn.SetReadDeadline(t) }
func (w *wire) SetWriteDeadline(t time.Time) error { w.past(t); return w.TCPConn.SetWriteDeadline(t) }

func (w *wire) past(t time.Time) {
	if !t.IsZero() && !t.After(time.Now()) {
		_ = w.SetLinger(0) // it fails on a connection that is closed
		_ = w.TCPConn.Close()
	}
}
