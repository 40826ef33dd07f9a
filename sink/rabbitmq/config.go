package rabbitmq

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/waybillhq/waybill/cloudevents"
)

// Config is how a Sink connects and what it writes. The zero value works: the default exchange, and what stands in the URL.
type Config struct {
	// Source is the CloudEvents source of every message, a URI reference of at most 255 bytes. Defaults to "/waybill/default".
	Source string

	// Exchange gets every message. Defaults to the default exchange, "", which routes to the queue named like the topic.
	Exchange string
	// Create makes what is missing when a topic has no queue: a durable quorum queue with the topic's name, bound to
	// Exchange with the topic as its key. What exists is never changed. Without it nothing is ever made.
	Create bool
	// MaxMessageBytes is the largest payload that is sent; above it a server would close the channel. A smaller limit of the
	// server is learnt from its first refusal. Defaults to 16 MiB, which is what RabbitMQ 4 takes; 3.x takes 128 MiB.
	MaxMessageBytes int

	// UserFile and PasswordFile hold what would else stand in the URL. All files are read again at every connection.
	UserFile, PasswordFile string
	// External proves who one is by the client's certificate (SASL EXTERNAL). Defaults to user and password (PLAIN).
	External bool
	// CAFile holds the certificates that may sign the server's. Defaults to the system's.
	CAFile string
	// CertFile and KeyFile are the client's certificate; both or neither.
	CertFile, KeyFile string
	// ConnectTimeout bounds one attempt to connect. Defaults to 5 s: a server tells of a wrong password after 3 s.
	ConnectTimeout time.Duration

	// ManagementURL is the HTTP API, such as "http://localhost:15672", for Check alone. User and password default to those
	// of the connection. Defaults to none: then Check cannot look at queues.
	ManagementURL string
}

// server is one address of the broker.
type server struct {
	uri     amqp.URI
	address string
	tls     bool
}

func (c Config) withDefaults(servers string) (Config, []server, error) {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("waybill: WB4204 rabbitmq sink: "+format, args...))
		}
	}
	if c.Source == "" {
		c.Source = cloudevents.DefaultSource
	}
	if c.MaxMessageBytes == 0 {
		c.MaxMessageBytes = 16 << 20
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	texts := strings.FieldsFunc(servers, func(r rune) bool { return r == ',' || r == ' ' })
	if len(texts) == 0 {
		texts = []string{"amqp://127.0.0.1:5672"}
	}
	var list []server
	for i, text := range texts {
		s, err := parseServer(text)
		need(err == nil, "server %d is not a URL: %v. Try: amqp://host:5672/vhost", i+1, err)
		need(s.tls || c.CAFile == "" && c.CertFile == "", "server %d is reached without TLS, which CAFile and CertFile ask for. Try: amqps://", i+1)
		list = append(list, s)
	}
	_, err := url.Parse(c.Source)
	need(err == nil && len(c.Source) <= maxShort, "Source %.80q is not a URI reference of at most 255 bytes. Try: /waybill/orders", c.Source)
	need(len(c.Exchange) <= maxShort, "Exchange is longer than 255 bytes. Try: a shorter name")
	need((c.CertFile == "") == (c.KeyFile == ""), "CertFile and KeyFile belong together. Try: give both or neither")
	need(!c.External || c.CertFile != "", "External needs CertFile and KeyFile. Try: give the client's certificate")
	need(c.ConnectTimeout > 0, "ConnectTimeout must be positive. Try: 5s")
	need(c.MaxMessageBytes > 0, "MaxMessageBytes must be positive. Try: leave it out")
	if c.ManagementURL != "" {
		u, err := url.Parse(c.ManagementURL)
		need(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", "ManagementURL is not a URL of the HTTP API. Try: http://localhost:15672")
	}
	return c, list, errors.Join(faults...)
}

func parseServer(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err // the whole error holds the URL, and that a password
		}
		return server{}, err
	}
	if u.RawQuery != "" {
		return server{}, errors.New("it has a query, and settings stand in the configuration")
	}
	uri, err := amqp.ParseURI(text)
	if err != nil {
		return server{}, err
	}
	return server{uri, net.JoinHostPort(uri.Host, fmt.Sprint(uri.Port)), uri.Scheme == "amqps"}, nil
}

// login returns user and password as they are now.
func (c *Config) login(s server) (user, password string, err error) {
	user, password = s.uri.Username, s.uri.Password
	for _, f := range []struct {
		path string
		to   *string
	}{{c.UserFile, &user}, {c.PasswordFile, &password}} {
		if f.path == "" {
			continue
		}
		text, err := os.ReadFile(f.path)
		if err != nil {
			return "", "", err
		}
		*f.to = strings.TrimRight(string(text), "\r\n")
	}
	return user, password, nil
}
