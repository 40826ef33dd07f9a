package sink_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/sink/rabbitmq"
)

func TestALoginThatRabbitMQRefusesIsSaidPlainly(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	rabbitQueue(t, vhost, "orders", "classic", nil)
	user, at := rabbitUser(t, vhost, ".*")
	with := func(change func(u *url.URL)) string {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		change(u)
		return u.String()
	}
	for name, c := range map[string]struct{ url, says string }{
		"wrong password":  {with(func(u *url.URL) { u.User = url.UserPassword(user, "canary") }), `did not let user "` + user + `" in`},
		"vhost missing":   {with(func(u *url.URL) { u.Path = "/nowhere" }), "vhost nowhere not found"},
		"vhost forbidden": {with(func(u *url.URL) { u.Path = "/" }), "access to vhost '/' refused"},
		"nobody listens":  {"amqp://canary:canary@127.0.0.1:1", "refused"},
		"no such host":    {"amqp://canary:canary@nowhere.invalid", "nowhere.invalid"},
	} {
		err := send(t, newRabbit(t, c.url, rabbitmq.Config{}), time.Minute, message("orders", "1"))[0]
		wantRabbit(t, err, "temporary", "WB2401")
		if err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: %v, want it to say %q and no password", name, err, c.says)
		}
	}
	if _, err := rabbitmq.New("amqp://user:canary@h:port/%zz", rabbitmq.Config{}); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a URL that is none: %v", err)
	}
}

func TestSecretsOfRabbitMQAreReadAgainAtEveryConnection(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	rabbitQueue(t, vhost, "orders", "classic", nil)
	user, at := rabbitUser(t, vhost, ".*")
	password := write(t, "password", []byte("canary-secret\n"))
	sink := newRabbit(t, at, rabbitmq.Config{UserFile: write(t, "user", []byte(user)), PasswordFile: password})
	sendUntilStored(t, sink, message("orders", "1"))
	vhost.API(t, "PUT", "/users/"+user, map[string]any{"password": "new", "tags": ""})
	var connections []struct{ Name, User string }
	for end := time.Now().Add(time.Minute); len(connections) != 1; time.Sleep(10 * time.Millisecond) { // it is told a little later
		if err := json.Unmarshal([]byte(vhost.API(t, "GET", "/vhosts/"+vhost.Name+"/connections", nil)), &connections); err != nil || time.Now().After(end) {
			t.Fatalf("%v %v", connections, err)
		}
	}
	vhost.API(t, "DELETE", "/connections/"+url.PathEscape(connections[0].Name), nil) // an operator does so
	refused := errors.New("nothing yet")
	for end := time.Now().Add(time.Minute); !strings.Contains(refused.Error(), "WB2401"); time.Sleep(10 * time.Millisecond) {
		if refused = send(t, sink, time.Minute, message("orders", "2"))[0]; refused == nil || time.Now().After(end) {
			t.Fatalf("with the old password: %v", refused)
		}
		wantRabbit(t, refused, "temporary", "WB240")
	}
	if err := os.WriteFile(password, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	sendUntilStored(t, sink, message("orders", "2"))
}

func TestTLSOfRabbitMQIsVerifiedOnBothSidesAndRotated(t *testing.T) {
	t.Parallel()
	ca, stranger := newCA(t), newCA(t)
	serverCert, serverKey := ca.issue(t, "server", time.Hour, "localhost")
	server := testenv.StartRabbitMQ(t, testenv.RabbitMQConfig{
		Plugins: []string{"rabbitmq_auth_mechanism_ssl"},
		Files:   map[string]string{"ca.pem": ca.pem, "cert.pem": serverCert, "key.pem": serverKey},
		Settings: []string{"listeners.ssl.1 = $TLS", "ssl_options.cacertfile = $DIR/ca.pem", "ssl_options.certfile = $DIR/cert.pem", "ssl_options.keyfile = $DIR/key.pem",
			"ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = true", "auth_mechanisms.1 = PLAIN", "auth_mechanisms.2 = EXTERNAL", "ssl_cert_login_from = common_name"},
	})
	server.API(t, "PUT", "/queues/%2F/orders", map[string]any{"durable": true})
	server.API(t, "PUT", "/users/waybill%20test%20relay", map[string]any{"password_hash": "", "tags": ""})
	server.API(t, "PUT", "/permissions/%2F/waybill%20test%20relay", map[string]any{"configure": "", "write": ".*", "read": ""})

	caFile, strangerFile := write(t, "ca.pem", []byte(ca.pem)), write(t, "stranger.pem", []byte(stranger.pem))
	cert, key := ca.issue(t, "relay", time.Hour)
	certFile, keyFile := write(t, "cert.pem", []byte(cert)), write(t, "key.pem", []byte(key))
	foreign, foreignKey := stranger.issue(t, "relay", time.Hour)
	foreignFile, foreignKeyFile := write(t, "cert.pem", []byte(foreign)), write(t, "key.pem", []byte(foreignKey))
	secure := server.TLSURL()
	for name, c := range map[string]struct {
		url    string
		config rabbitmq.Config
		says   string
	}{
		"all well":             {secure, rabbitmq.Config{CAFile: caFile, CertFile: certFile, KeyFile: keyFile}, ""},
		"certificate as login": {strings.Replace(secure, "guest:guest@", "", 1), rabbitmq.Config{CAFile: caFile, CertFile: certFile, KeyFile: keyFile, External: true}, ""},
		"unknown authority":    {secure, rabbitmq.Config{CAFile: strangerFile, CertFile: certFile, KeyFile: keyFile}, "unknown authority"},
		"wrong host":           {strings.Replace(secure, "localhost", "127.0.0.1", 1), rabbitmq.Config{CAFile: caFile, CertFile: certFile, KeyFile: keyFile}, "127.0.0.1"},
		"no certificate":       {secure, rabbitmq.Config{CAFile: caFile}, "certificate"},
		"foreign certificate":  {secure, rabbitmq.Config{CAFile: caFile, CertFile: foreignFile, KeyFile: foreignKeyFile}, "no connection"},
		"TLS 1.0":              {oldTLS(t, serverCert, serverKey), rabbitmq.Config{CAFile: caFile}, "protocol version"},
		"no plaintext instead": {strings.Replace(server.URL(), "amqp:", "amqps:", 1), rabbitmq.Config{CAFile: caFile}, "TLS"},
	} {
		err := send(t, newRabbit(t, c.url, c.config), time.Minute, message("orders", "1"))[0]
		if c.says == "" {
			wantRabbit(t, err, "confirmed", "")
			continue
		}
		wantRabbit(t, err, "temporary", "WB2401")
		if err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}

	expired, expiredKey := ca.issue(t, "relay", -time.Hour)
	rotating, rotatingKey := write(t, "cert.pem", []byte(expired)), write(t, "key.pem", []byte(expiredKey))
	sink := newRabbit(t, secure, rabbitmq.Config{CAFile: caFile, CertFile: rotating, KeyFile: rotatingKey})
	wantRabbit(t, send(t, sink, time.Minute, message("orders", "2"))[0], "temporary", "WB2401")
	for file, text := range map[string]string{rotating: cert, rotatingKey: key} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantRabbit(t, send(t, sink, time.Minute, message("orders", "2"))[0], "confirmed", "")
}

// oldTLS is the URL of a server that speaks TLS 1.0 at most.
func oldTLS(t *testing.T, cert, key string) string {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.(*tls.Conn).Handshake() // it must fail
				conn.Close()
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return "amqps://guest:guest@localhost:" + port
}
