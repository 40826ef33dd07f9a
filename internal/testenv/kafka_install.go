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
		r, err := theReaper()
		if err != nil {
			return err
		}
		pom := filepath.Join(r.disk, "kafka.pom.xml")
		if err := os.WriteFile(pom, kafkaPOM, 0o600); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), mavenPatience)
		defer cancel()
		cmd := exec.CommandContext(ctx, mvn, "-B", "-q", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+path)
		if out, err := cmd.CombinedOutput(); err != nil {
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
