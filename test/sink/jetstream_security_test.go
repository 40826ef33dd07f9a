package sink_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/waybillhq/waybill/sink/jetstream"
)

func TestEachWayToProveWhoOneIsWorks(t *testing.T) {
	t.Parallel()
	key, seed := newKey(t, nkeys.CreateUser)
	e := startEmbedded(t, &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT,
		Users: []*server.User{{Username: "user", Password: "pass%word"}},
		Nkeys: []*server.NkeyUser{{Nkey: key}},
	})
	seedFile := write(t, "seed.nk", seed)
	host := strings.TrimPrefix(e.server.ClientURL(), "nats://")
	for name, sink := range map[string]*jetstream.Sink{
		"password": newSink(t, "nats://user:pass%25word@"+host, jetstream.Config{}),
		"nkey":     newSink(t, host, jetstream.Config{NKeyFile: seedFile}),
	} {
		if err := send(t, sink, time.Minute, message("orders", "1"))[0]; class(err) != "topic" { // let in, and no stream there
			t.Errorf("%s: %v", name, err)
		}
		sink.Close()
	}
	for name, sink := range map[string]*jetstream.Sink{
		"nobody":         newSink(t, host, jetstream.Config{}),
		"wrong password": newSink(t, "nats://user:canary-secret@"+host, jetstream.Config{}),
		"no file":        newSink(t, host, jetstream.Config{NKeyFile: seedFile + "x"}),
	} {
		for range 3 { // the client gives up for good after two; the sink must not
			err := send(t, sink, time.Minute, message("orders", "1"))[0]
			if class(err) != "temporary" || !strings.Contains(err.Error(), "WB2101") || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v", name, err)
			}
		}
		sink.Close()
	}
}

func TestCredentialsAreReadAgainAtEveryConnection(t *testing.T) {
	t.Parallel()
	operator, operatorSeed := newKey(t, nkeys.CreateOperator)
	account, accountSeed := newKey(t, nkeys.CreateAccount)
	signer := func(seed []byte) nkeys.KeyPair {
		pair, err := nkeys.FromSeed(seed)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	claims := jwt.NewAccountClaims(account)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	accountToken, err := claims.Encode(signer(operatorSeed))
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(account, accountToken); err != nil {
		t.Fatal(err)
	}
	system, _ := newKey(t, nkeys.CreateAccount)
	systemToken, err := jwt.NewAccountClaims(system).Encode(signer(operatorSeed))
	if err == nil {
		err = resolver.Store(system, systemToken)
	}
	if err != nil {
		t.Fatal(err)
	}
	e := startEmbedded(t, &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, TrustedKeys: []string{operator}, AccountResolver: resolver, SystemAccount: system})
	credentials := func(expires time.Duration) string {
		user, userSeed := newKey(t, nkeys.CreateUser)
		claims := jwt.NewUserClaims(user)
		claims.Expires = time.Now().Add(expires).Unix()
		token, err := claims.Encode(signer(accountSeed))
		if err != nil {
			t.Fatal(err)
		}
		file, err := jwt.FormatUserConfig(token, userSeed)
		if err != nil {
			t.Fatal(err)
		}
		return string(file)
	}
	file := write(t, "user.creds", []byte(credentials(-time.Hour)))
	sink := newSink(t, e.server.ClientURL(), jetstream.Config{CredentialsFile: file, Create: true, Stream: "ORDERS", Subjects: []string{"orders"}})
	defer sink.Close()
	if err := send(t, sink, time.Minute, message("orders", "1"))[0]; class(err) != "temporary" || !strings.Contains(err.Error(), "WB2101") {
		t.Errorf("expired: %v", err)
	}
	if err := os.WriteFile(file, []byte(credentials(time.Hour)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := send(t, sink, time.Minute, message("orders", "1"))[0]; err != nil {
		t.Errorf("renewed: %v", err)
	}
}

func TestTLSIsVerifiedOnBothSidesAndRotated(t *testing.T) {
	t.Parallel()
	ca, stranger := newCA(t), newCA(t)
	serverCert, serverKey := ca.issue(t, "server", time.Hour, "localhost")
	pair, err := tls.X509KeyPair([]byte(serverCert), []byte(serverKey))
	if err != nil {
		t.Fatal(err)
	}
	e := startEmbedded(t, &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, TLS: true, TLSTimeout: 10, TLSVerify: true,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: ca.pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}})
	c := e.consumer()
	c.makeStream(t, client.StreamConfig{Subjects: []string{"orders"}})
	url := strings.Replace(e.server.ClientURL(), "127.0.0.1", "localhost", 1)
	caFile, strangerFile := write(t, "ca.pem", []byte(ca.pem)), write(t, "stranger.pem", []byte(stranger.pem))
	cert, key := ca.issue(t, "relay", time.Hour)
	certFile, keyFile := write(t, "cert.pem", []byte(cert)), write(t, "key.pem", []byte(key))
	foreign, foreignKey := stranger.issue(t, "relay", time.Hour)
	foreignFile, foreignKeyFile := write(t, "cert.pem", []byte(foreign)), write(t, "key.pem", []byte(foreignKey))
	plain := startEmbedded(t, &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT})

	for name, c := range map[string]struct {
		url    string
		config jetstream.Config
		ok     bool
	}{
		"all well":             {url, jetstream.Config{CAFile: caFile, CertFile: certFile, KeyFile: keyFile}, true},
		"unknown authority":    {url, jetstream.Config{CAFile: strangerFile, CertFile: certFile, KeyFile: keyFile}, false},
		"wrong host":           {e.server.ClientURL(), jetstream.Config{CAFile: caFile, CertFile: certFile, KeyFile: keyFile}, false},
		"no certificate":       {url, jetstream.Config{CAFile: caFile}, false},
		"foreign certificate":  {url, jetstream.Config{CAFile: caFile, CertFile: foreignFile, KeyFile: foreignKeyFile}, false},
		"no plaintext instead": {strings.Replace(plain.server.ClientURL(), "nats:", "tls:", 1), jetstream.Config{}, false},
		"nor with a CA":        {plain.server.ClientURL(), jetstream.Config{CAFile: caFile}, false},
	} {
		sink := newSink(t, c.url, c.config)
		err := send(t, sink, time.Minute, message("orders", "1"))[0]
		if (err == nil) != c.ok || err != nil && (class(err) != "temporary" || !strings.Contains(err.Error(), "WB210")) {
			t.Errorf("%s: %v", name, err)
		}
		sink.Close()
	}

	expired, expiredKey := ca.issue(t, "relay", -time.Hour)
	rotating, rotatingKey := write(t, "cert.pem", []byte(expired)), write(t, "key.pem", []byte(expiredKey))
	sink := newSink(t, url, jetstream.Config{CAFile: caFile, CertFile: rotating, KeyFile: rotatingKey})
	defer sink.Close()
	if err := send(t, sink, time.Minute, message("orders", "2"))[0]; class(err) != "temporary" {
		t.Errorf("expired: %v", err)
	}
	for file, text := range map[string]string{rotating: cert, rotatingKey: key} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := send(t, sink, time.Minute, message("orders", "2"))[0]; err != nil {
		t.Errorf("rotated: %v", err)
	}
}

func write(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newKey(t *testing.T, create func() (nkeys.KeyPair, error)) (public string, seed []byte) {
	t.Helper()
	pair, err := create()
	if err == nil {
		public, err = pair.PublicKey()
	}
	if err == nil {
		seed, err = pair.Seed()
	}
	if err != nil {
		t.Fatal(err)
	}
	return public, seed
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newCA(t *testing.T) *authority {
	t.Helper()
	a := &authority{cert: &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}}
	a.key, a.pem = a.sign(t, a.cert, a, "CA", time.Hour)
	block, _ := pem.Decode([]byte(a.pem))
	var err error
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) issue(t *testing.T, name string, life time.Duration, hosts ...string) (cert, key string) {
	t.Helper()
	c := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	private, cert := a.sign(t, c, a, name, life)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (*authority) sign(t *testing.T, c *x509.Certificate, by *authority, name string, life time.Duration) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: fmt.Sprint("waybill test ", name)}
	c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(life)
	signer := by.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
