// Package config reads the configuration: flags over environment over file over defaults, strict, all faults at once.
package config

import (
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/redact"
)

// Config is the whole configuration. Tags: `default` is what an absent key means, `enum` lists the values, `later`
// those that other versions have, `min` bounds numbers, `required` asks for the key, `secret` is
// never shown, `schemes` says which URLs the keys of a
// struct belong to. docs/configuration.md explains each key; a test compares the two.
type Config struct {
	Listen  string            `yaml:"listen" default:"127.0.0.1:8080"`
	Relays  map[string]Relay  `yaml:"relays"`
	Sinks   map[string]Sink   `yaml:"sinks"`
	Sources map[string]Source `yaml:"sources"`

	// Warnings are what is allowed and unwise.
	Warnings []string `yaml:"-"`

	File   string            `yaml:"-"` // that was read, or ""
	origin map[string]string // path of a set value → where it was set
}

// Origin says where the value at path (sources.orders.url) was set.
func (c *Config) Origin(path string) string {
	if o, ok := c.origin[path]; ok {
		return o
	}
	return "default"
}

// Source is one log to read.
type Source struct {
	URL   redact.Secret `yaml:"url" required:"true"`
	Mode  string        `yaml:"mode" enum:"cursor,flagged" later:"log,auto" default:"cursor"`
	From  string        `yaml:"from" enum:"beginning,now" default:"beginning"`
	Table string        `yaml:"table"`
	URI   string        `yaml:"uri"`

	Retention Retention `yaml:"retention"`

	// For mode flagged only.
	Columns Columns `yaml:"columns"`
	Topic   string  `yaml:"topic"`
	Type    string  `yaml:"type"`
}

// Retention says when published messages are deleted. The zero value says never.
type Retention struct {
	Age time.Duration `yaml:"age" required:"true" min:"1"`
}

// Columns names the columns of a table of the user's own. Empty is the name of Waybill's own column, "-" is none.
type Columns struct {
	ContentType string `yaml:"content_type"`
	CreatedAt   string `yaml:"created_at"`
	Headers     string `yaml:"headers"`
	ID          string `yaml:"id"`
	IsPublished string `yaml:"is_published"`
	Key         string `yaml:"key"`
	Payload     string `yaml:"payload"`
	Pos         string `yaml:"pos"`
	Time        string `yaml:"time"`
	Topic       string `yaml:"topic"`
	Type        string `yaml:"type"`
}

// Sink is one broker to publish to. The URL says which kind it is, and so which of the keys behind it there are.
type Sink struct {
	URL         redact.Secret `yaml:"url" required:"true"`
	AllowUnsafe bool          `yaml:"allow_unsafe" default:"false"`

	JetStream JetStream `schemes:"nats,tls"`
	Kafka     Kafka     `schemes:"kafka,kafka+tls"`
	RabbitMQ  RabbitMQ  `schemes:"amqp,amqps"`

	kind string // the name of the field whose schemes have that of the URL
}

// Kind is JetStream, Kafka, RabbitMQ or empty, when no kind of sink has such a URL.
func (s Sink) Kind() string { return s.kind }

// JetStream are the keys of a sink whose URL is nats:// or tls://.
type JetStream struct {
	Create     bool          `yaml:"create" default:"false"`
	Stream     string        `yaml:"stream"`
	Subjects   []string      `yaml:"subjects"`
	Duplicates time.Duration `yaml:"duplicates" min:"1" default:"2m"`
	Replicas   int           `yaml:"replicas" min:"1" default:"1"`
	MaxBytes   Bytes         `yaml:"max_bytes" default:"0"`

	CredentialsFile string        `yaml:"credentials_file"`
	NKeyFile        string        `yaml:"nkey_file"`
	CAFile          string        `yaml:"ca_file"`
	CertFile        string        `yaml:"cert_file"`
	KeyFile         string        `yaml:"key_file"`
	ConnectTimeout  time.Duration `yaml:"connect_timeout" min:"1" default:"2s"`
}

// Kafka are the keys of a sink whose URL is kafka:// or kafka+tls://.
type Kafka struct {
	Compression      string         `yaml:"compression" enum:"none,gzip,snappy,lz4,zstd" default:"none"`
	Create           bool           `yaml:"create" default:"false"`
	CreateMinInSync  int            `yaml:"create_min_in_sync" min:"1"`
	CreatePartitions int            `yaml:"create_partitions" min:"1"`
	CreateReplicas   int            `yaml:"create_replicas" min:"1"`
	Fencing          bool           `yaml:"fencing" default:"false"`
	MaxBatchBytes    Bytes          `yaml:"max_batch_bytes" min:"1" default:"1MB"`
	Partitions       map[string]int `yaml:"partitions" min:"1"`

	SASL             string        `yaml:"sasl" enum:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"`
	User             string        `yaml:"user"`
	Password         redact.Secret `yaml:"password" secret:"true"`
	PasswordFile     string        `yaml:"password_file"`
	TokenFile        string        `yaml:"token_file"`
	PlaintextSecrets bool          `yaml:"plaintext_secrets" default:"false"`
	CAFile           string        `yaml:"ca_file"`
	CertFile         string        `yaml:"cert_file"`
	KeyFile          string        `yaml:"key_file"`
	ConnectTimeout   time.Duration `yaml:"connect_timeout" min:"1" default:"2s"`
}

// RabbitMQ are the keys of a sink whose URL is amqp:// or amqps://.
type RabbitMQ struct {
	Create          bool          `yaml:"create" default:"false"`
	Exchange        string        `yaml:"exchange"`
	MaxMessageBytes Bytes         `yaml:"max_message_bytes" min:"1" default:"16MiB"`
	ManagementURL   redact.Secret `yaml:"management_url"`

	UserFile       string        `yaml:"user_file"`
	PasswordFile   string        `yaml:"password_file"`
	External       bool          `yaml:"external" default:"false"`
	CAFile         string        `yaml:"ca_file"`
	CertFile       string        `yaml:"cert_file"`
	KeyFile        string        `yaml:"key_file"`
	ConnectTimeout time.Duration `yaml:"connect_timeout" min:"1" default:"5s"`
}

// Relay moves one source to one sink.
type Relay struct {
	Source      string        `yaml:"source" required:"true"`
	Sink        string        `yaml:"sink" required:"true"`
	Topics      []string      `yaml:"topics"`
	OnRejected  string        `yaml:"on_rejected" enum:"hold,park,stop" default:"hold"`
	Window      int           `yaml:"window" min:"1" default:"10000"`
	WindowBytes Bytes         `yaml:"window_bytes" min:"1" default:"16MiB"`
	Lease       time.Duration `yaml:"lease" min:"1" default:"10s"`
	SendTimeout time.Duration `yaml:"send_timeout" min:"1" default:"3s"`
}

// Bytes is a size, written 16MiB, 900KiB or as a plain number of bytes.
type Bytes int64
