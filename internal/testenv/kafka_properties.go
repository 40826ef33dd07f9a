package testenv

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// properties are a node's server.properties, which the tool that formats its folder reads too.
func (c KafkaConfig) properties(n *KafkaNode, nodes []*KafkaNode) (string, error) {
	var voters []string
	for _, other := range nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", other.id, loopback(other.controller)))
	}
	listeners := fmt.Sprintf("CLIENT://%s,ADMIN://%s", loopback(n.client), loopback(n.admin))
	replicas := min(3, len(nodes))
	lines := []string{
		fmt.Sprintf("node.id=%d", n.id),
		"process.roles=broker,controller",
		"controller.quorum.voters=" + strings.Join(voters, ","),
		fmt.Sprintf("listeners=%s,CONTROLLER://%s", listeners, loopback(n.controller)),
		"advertised.listeners=" + listeners,
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=ADMIN",
		"log.dirs=" + filepath.Join(n.dir, "data"),
		"auto.create.topics.enable=false",
		fmt.Sprintf("default.replication.factor=%d", replicas),
		fmt.Sprintf("offsets.topic.replication.factor=%d", replicas),
		fmt.Sprintf("transaction.state.log.replication.factor=%d", replicas),
		fmt.Sprintf("transaction.state.log.min.isr=%d", (replicas+1)/2),
		// What follows is there to make tests quick and the node small.
		"offsets.topic.num.partitions=1",
		"transaction.state.log.num.partitions=1",
		"group.initial.rebalance.delay.ms=0",
		"broker.heartbeat.interval.ms=300",
		"broker.session.timeout.ms=5000",
		"log.cleaner.dedupe.buffer.size=4194304",
	}
	security, err := c.security(n)
	return strings.Join(slices.Concat(lines, security, c.Settings), "\n") + "\n", err
}

// security are the properties of the listener CLIENT; the others are plain.
func (c KafkaConfig) security(n *KafkaNode) (lines []string, err error) {
	const prefix = "listener.name.client."
	protocol := "PLAINTEXT"
	if c.CertFile != "" {
		protocol = "SSL"
		store := filepath.Join(n.dir, "server.pem")
		if err := concat(store, c.KeyFile, c.CertFile); err != nil {
			return nil, err
		}
		lines = append(lines, prefix+"ssl.keystore.type=PEM", prefix+"ssl.keystore.location="+store)
	}
	if c.ClientCAFile != "" {
		lines = append(lines, prefix+"ssl.client.auth=required",
			prefix+"ssl.truststore.type=PEM", prefix+"ssl.truststore.location="+c.ClientCAFile)
	}
	if len(c.SASL) > 0 {
		protocol = map[string]string{"PLAINTEXT": "SASL_PLAINTEXT", "SSL": "SASL_SSL"}[protocol]
		lines = append(lines, prefix+"sasl.enabled.mechanisms="+strings.Join(c.SASL, ","))
	}
	for _, mechanism := range c.SASL {
		lines = append(lines, prefix+strings.ToLower(mechanism)+".sasl.jaas.config="+c.jaas(mechanism))
	}
	if slices.Contains(c.SASL, "OAUTHBEARER") {
		const unsecured = "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecured"
		lines = append(lines, prefix+"oauthbearer.sasl.server.callback.handler.class="+unsecured+"ValidatorCallbackHandler",
			prefix+"oauthbearer.sasl.login.callback.handler.class="+unsecured+"LoginCallbackHandler")
	}
	if c.ACL {
		// The listeners ADMIN and CONTROLLER do not ask who connects.
		lines = append(lines, "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS")
	}
	return append(lines, "listener.security.protocol.map=ADMIN:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENT:"+protocol), nil
}

func (c KafkaConfig) jaas(mechanism string) string {
	const modules = "org.apache.kafka.common.security."
	switch mechanism {
	case "PLAIN":
		module := modules + "plain.PlainLoginModule required"
		for _, name := range slices.Sorted(maps.Keys(c.Users)) {
			module += fmt.Sprintf(" user_%s=%q", name, c.Users[name])
		}
		return module + ";"
	case "OAUTHBEARER":
		return modules + `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`
	default:
		return modules + "scram.ScramLoginModule required;"
	}
}

// format makes the node's folder ready for its first start, with the users of SCRAM in it.
func (i *kafkaInstall) format(n *KafkaNode, cluster string, c KafkaConfig) error {
	args := []string{"kafka.tools.StorageTool", "format", "-t", cluster, "-c", n.properties()}
	for _, feature := range c.Features {
		args = append(args, "--feature", feature)
	}
	for _, mechanism := range c.SASL {
		if !strings.HasPrefix(mechanism, "SCRAM-") {
			continue
		}
		for name, password := range c.Users {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%q,password=%q]", mechanism, name, password))
		}
	}
	if out, err := i.command(n.dir, args...).CombinedOutput(); err != nil {
		if bytes.Contains(out, []byte("UnsupportedClassVersionError")) {
			return &missing{"kafka", "java is older than 17", kafkaTry}
		}
		return fmt.Errorf("format the folder of %s: %w\n%s", n.name, err, out)
	}
	return nil
}

func concat(to string, from ...string) error {
	var all []byte
	for _, path := range from {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		all = append(append(all, b...), '\n')
	}
	return os.WriteFile(to, all, 0o600)
}
