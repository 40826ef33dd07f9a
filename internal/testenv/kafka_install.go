package testenv

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

//go:embed kafka.pom.xml
var kafkaPOM []byte

const kafkaTry = "sudo apt-get install -y --no-install-recommends default-jre-headless maven, or set WAYBILL_TEST_KAFKA_URL"

// mavenPatience bounds Maven, which waits long for a repository that does not answer.
const mavenPatience = 5 * time.Minute

// kafkaInstall is where Java and Kafka's jars are.
type kafkaInstall struct{ java, jars string }

var findKafka = sync.OnceValues(installKafkaJars)

// installKafkaJars has Maven fetch the jars, once a machine and version.
func installKafkaJars() (*kafkaInstall, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, &missing{"kafka", err.Error(), kafkaTry}
	}
	jars, err := cached(fmt.Sprintf("kafka-%.4x", sha256.Sum256(kafkaPOM)), func(path string) error {
		mvn, err := exec.LookPath("mvn")
		if err != nil {
			return &missing{"kafka", err.Error(), kafkaTry}
		}
		out, err := copyKafkaJars(mvn, path)
		if err != nil {
			reason, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
			return &missing{"kafka", fmt.Sprintf("mvn dependency:copy-dependencies: %v: %s", err, reason),
				"a connection to a Maven repository, or set WAYBILL_TEST_KAFKA_URL"}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &kafkaInstall{java, jars}, nil
}

func copyKafkaJars(mvn, to string) ([]byte, error) {
	r, err := theReaper()
	if err != nil {
		return nil, err
	}
	pom, trust := filepath.Join(r.disk, "kafka.pom.xml"), filepath.Join(r.disk, "trust.jks")
	if err := os.WriteFile(pom, kafkaPOM, 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), mavenPatience)
	defer cancel()
	run := func(options string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, mvn, "-B", "-q", "-Dstyle.color=never", "-f", pom,
			"org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+to)
		cmd.Env = append(os.Environ(), "MAVEN_OPTS="+os.Getenv("MAVEN_OPTS")+options)
		return cmd.CombinedOutput()
	}
	out, err := run("")
	// Java has a list of its own of whom to trust, which lacks a certificate that came to the machine before Java did.
	if err != nil && bytes.Contains(out, []byte("PKIX path building failed")) && systemTrust(trust) == nil {
		return run(" -Djavax.net.ssl.trustStoreType=JKS -Djavax.net.ssl.trustStore=" + trust)
	}
	return out, err
}

// command runs a main class of Kafka's in dir, which also gets whatever Java leaves behind. A small heap and the quick
// compiler: tests start many and let none run long.
func (i *kafkaInstall) command(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(i.java, append([]string{
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData",
		"-Djava.io.tmpdir=" + dir,
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		// Every election fills pages with these two.
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.NetworkClient=error",
		"-Dorg.slf4j.simpleLogger.log.kafka.server.ControllerApis=off",
		"-cp", filepath.Join(i.jars, "*"),
	}, args...)...)
	cmd.Dir = dir
	return cmd
}
