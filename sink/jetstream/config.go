package jetstream

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/waybillhq/waybill/cloudevents"
)

// Config is how a Sink connects and what it writes. The zero value works for a server without authentication.
type Config struct {
	// Source is the CloudEvents source of every message, a URI reference. Defaults to "/waybill/default".
	Source string

	// Stream names the stream that Check looks at and Create makes.
	Stream string
	// Create makes Stream when it is missing: file storage, discard new. A stream that exists is never changed.
	Create bool
	// Subjects are what a created stream stores, such as "orders.>". Required by Create.
	Subjects []string
	// Duplicates is how long a created stream remembers message ids. Defaults to 2 minutes.
	Duplicates time.Duration
	// Replicas is how many servers of a cluster store a created stream. Defaults to 1.
	Replicas int
	// MaxBytes bounds a created stream; a full one refuses messages, and the relay waits. Defaults to no bound.
	MaxBytes int64

	// CredentialsFile holds a user's JWT and seed. This and the files below are read again at every connection.
	CredentialsFile string
	// NKeyFile holds an nkey seed.
	NKeyFile string
	// CAFile holds the certificates that may sign the server's. Defaults to the system's.
	CAFile string
	// CertFile and KeyFile are the client's certificate; both or neither.
	CertFile, KeyFile string
	// ConnectTimeout bounds one attempt to connect. Defaults to 2 s.
	ConnectTimeout time.Duration
	// Options are more options of the client, such as nats.InProcessServer. The sink decides by itself when to connect again,
	// so options about that have no effect.
	Options []nats.Option
}

func (c Config) withDefaults(servers string) (Config, []string, error) {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("waybill: WB4202 jetstream sink: "+format, args...))
		}
	}
	if c.Source == "" {
		c.Source = cloudevents.DefaultSource
	}
	if c.Duplicates == 0 {
		c.Duplicates = 2 * time.Minute
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 2 * time.Second
	}
	list := strings.FieldsFunc(servers, func(r rune) bool { return r == ',' || r == ' ' })
	for i, server := range list {
		if !strings.Contains(server, "://") {
			server = "nats://" + server // as the client does
		}
		_, err := url.Parse(server)
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err // the whole error holds the URL, and that a password
		}
		need(err == nil, "server %d is not a URL: %v. Try: nats://host:4222", i+1, err)
	}
	_, err := url.Parse(c.Source)
	need(err == nil, "Source %q is not a URI reference. Try: /waybill/orders", c.Source)
	need(!c.Create || c.Stream != "" && len(c.Subjects) > 0, "Create needs Stream and Subjects. Try: name the stream, and the topics it stores")
	need((c.CertFile == "") == (c.KeyFile == ""), "CertFile and KeyFile belong together. Try: give both or neither")
	need(c.Duplicates > 0, "Duplicates must be positive. Try: 2m")
	need(c.Replicas >= 1 && c.Replicas <= 5, "Replicas is %d, and must be 1 to 5. Try: 3 in a cluster", c.Replicas)
	need(c.MaxBytes >= 0, "MaxBytes must not be negative. Try: leave it out for no bound")
	need(c.ConnectTimeout > 0, "ConnectTimeout must be positive. Try: 2s")
	return c, list, errors.Join(faults...)
}

// options are made anew for every connection, so that rotated files are picked up.
func (c Config) options(servers []string) (nats.Options, error) {
	o := nats.GetDefaultOptions()
	list := []nats.Option{nats.Name("waybill"), nats.PingInterval(5 * time.Second)} // a dead peer is found in 15 s, not in 6 minutes
	if c.CredentialsFile != "" {
		list = append(list, nats.UserCredentials(c.CredentialsFile))
	}
	if c.NKeyFile != "" {
		key, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return o, fmt.Errorf("read the nkey of %s: %w", c.NKeyFile, err)
		}
		list = append(list, key)
	}
	if c.CAFile != "" {
		list = append(list, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		list = append(list, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	for _, set := range append(list, c.Options...) {
		if err := set(&o); err != nil {
			return o, err
		}
	}
	o.Servers = servers
	o.Timeout = c.ConnectTimeout
	o.AllowReconnect, o.RetryOnFailedConnect = false, false
	return o, nil
}
