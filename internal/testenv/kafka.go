package testenv

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// KafkaConfig is how a Kafka cluster of its own differs from the usual one: one node, no encryption, everybody may do all.
type KafkaConfig struct {
	// Nodes is how many there are, each broker and controller. Defaults to 1.
	Nodes int
	// Settings are more properties of every node, such as "message.max.bytes=4096"; the last of a name wins.
	Settings []string
	// Features are the levels that differ from the newest, such as "transaction.version=1".
	Features []string
	// SASL are the mechanisms of which Brokers asks for one: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER (which takes
	// any unsecured token, RFC 7515 appendix A.5). Defaults to none.
	SASL []string
	// Users are the passwords, by name, for PLAIN and SCRAM: letters, digits and the like.
	Users map[string]string
	// CertFile and KeyFile make Brokers speak TLS: PEM files with the certificate chain and its PKCS #8 key.
	CertFile, KeyFile string
	// ClientCAFile makes Brokers ask for a client certificate that these sign. Defaults to asking for none.
	ClientCAFile string
	// ACL forbids Brokers' users whatever no ACL allows. Admin may do all.
	ACL bool
}

// Kafka is a running Kafka cluster in KRaft mode. Its own methods act on all nodes.
//
// A killed node keeps what it acknowledged, because its pages are in the kernel's cache: Kafka flushes when the kernel
// does. So Kill shows a crashed process, not a crashed machine; that is what replicas are for.
type Kafka struct {
	// Nodes are its nodes, to kill or freeze one.
	Nodes []*KafkaNode
	t     T
}

// Brokers are the addresses where clients connect. They stay the same through Restart.
func (k *Kafka) Brokers() []string {
	return k.addresses(func(n *KafkaNode) string { return n.Addr() })
}

// Admin are the addresses of the same brokers without encryption and for a super user, whatever the configuration.
func (k *Kafka) Admin() []string {
	return k.addresses(func(n *KafkaNode) string { return loopback(n.admin) })
}

func (k *Kafka) addresses(of func(*KafkaNode) string) (list []string) {
	for _, n := range k.Nodes {
		list = append(list, of(n))
	}
	return list
}

// StartKafka starts a cluster of its own, which ends with the test.
func StartKafka(t T, config KafkaConfig) *Kafka {
	t.Helper()
	k, err := newKafka(config)
	mustHave(t, "", err)
	k.t = t
	err = k.each((*KafkaNode).start)
	for _, n := range k.Nodes {
		n.own(t, nil)
	}
	if err != nil {
		t.Fatalf("testenv: start: %v", err)
	}
	return k
}

// KafkaBrokers are the addresses of a Kafka node that the tests of this process share: use topic names of your own.
func KafkaBrokers(t T) []string {
	t.Helper()
	if given := os.Getenv("WAYBILL_TEST_KAFKA_URL"); given != "" {
		return strings.Split(strings.TrimPrefix(given, "kafka://"), ",")
	}
	k, err := sharedKafka()
	mustHave(t, "start the shared kafka: ", err)
	k.Nodes[0].showSince(t)
	return k.Brokers()
}

// NeedKafka skips the test, by name, when [KafkaBrokers] would.
func NeedKafka(t T) {
	t.Helper()
	if os.Getenv("WAYBILL_TEST_KAFKA_URL") != "" {
		return
	}
	_, err := findKafka()
	mustHave(t, "", err)
}

var sharedKafka = sync.OnceValues(func() (*Kafka, error) {
	k, err := newKafka(KafkaConfig{})
	if err != nil {
		return nil, err
	}
	if err := k.Nodes[0].start(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, k.Nodes[0].Log())
	}
	return k, nil
})

// newKafka lays a cluster out: ports, properties, formatted folders.
func newKafka(config KafkaConfig) (*Kafka, error) {
	install, err := findKafka()
	if err != nil {
		return nil, err
	}
	r, err := theReaper()
	if err != nil {
		return nil, err
	}
	k := &Kafka{}
	for id := 1; id <= max(1, config.Nodes); id++ {
		n := &KafkaNode{id: id}
		for _, port := range []*int{&n.client, &n.admin, &n.controller} {
			if *port, err = freePort(); err != nil {
				return nil, err
			}
		}
		n.dir = filepath.Join(r.disk, fmt.Sprintf("kafka-%d", n.client))
		if err := os.Mkdir(n.dir, 0o700); err != nil {
			return nil, err
		}
		n.server = server{
			name:    fmt.Sprintf("kafka node %d", id),
			command: func() *exec.Cmd { return install.command(n.dir, "kafka.Kafka", n.properties()) },
			ready:   func(*Process) bool { return n.listed() },
			quit:    syscall.SIGTERM,
			abort:   syscall.SIGKILL,
		}
		k.Nodes = append(k.Nodes, n)
	}
	cluster := make([]byte, 16)
	rand.Read(cluster)
	cluster[0] &= 0x7f // the tool takes a leading "-" for an option
	return k, k.each(func(n *KafkaNode) error {
		text, err := config.properties(n, k.Nodes)
		if err != nil {
			return err
		}
		if err := os.WriteFile(n.properties(), []byte(text), 0o600); err != nil {
			return err
		}
		return install.format(n, base64.RawURLEncoding.EncodeToString(cluster), config)
	})
}

// Kill ends all nodes with SIGKILL. Their data stays as it was, for Restart.
func (k *Kafka) Kill() {
	for _, n := range k.Nodes {
		n.Kill()
	}
}

// Pause freezes all nodes: connections stay open and nothing answers.
func (k *Kafka) Pause() {
	for _, n := range k.Nodes {
		n.Pause()
	}
}

// Continue ends a Pause.
func (k *Kafka) Continue() {
	for _, n := range k.Nodes {
		n.Continue()
	}
}

// Stop ends all nodes gracefully.
func (k *Kafka) Stop() {
	k.t.Helper()
	if err := k.each((*KafkaNode).end); err != nil {
		k.t.Fatalf("testenv: stop: %v", err)
	}
}

// Restart starts all nodes again on the same ports and data, and stops before what still runs.
func (k *Kafka) Restart() {
	k.t.Helper()
	if err := k.each((*KafkaNode).restart); err != nil {
		k.t.Fatalf("testenv: restart: %v", err)
	}
}

// each runs f for all nodes at once: they wait for one another.
func (k *Kafka) each(f func(*KafkaNode) error) error {
	errs := make([]error, len(k.Nodes))
	var wait sync.WaitGroup
	for i, n := range k.Nodes {
		wait.Go(func() {
			if err := f(n); err != nil {
				errs[i] = fmt.Errorf("%s: %w", n.name, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
