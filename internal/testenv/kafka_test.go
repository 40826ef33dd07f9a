package testenv

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestKafkaKeepsItsTopicsAndPortsThroughEveryEnd(t *testing.T) {
	t.Parallel()
	k := StartKafka(t, KafkaConfig{})
	if code := createTopic(t, k, "orders"); code != 0 {
		t.Fatalf("create the topic: error %d", code)
	}
	for name, end := range map[string]func(){"stop": k.Stop, "kill": k.Kill, "nothing": func() {}} {
		end()
		k.Restart()
		if code := createTopic(t, k, "orders"); code != topicExists {
			t.Errorf("after %s: error %d, want %d: the topic is there", name, code, topicExists)
		}
	}
}

const topicExists = 36

// createTopic asks by a CreateTopics request of version 2, as there is no client library here, and returns its error code.
func createTopic(t *testing.T, k *Kafka, name string) int16 {
	t.Helper()
	c, err := net.Dial("tcp", k.Brokers()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	text := func(s string) string { return string([]byte{0, byte(len(s))}) + s }
	const noClient, one, partitions, replicas, none = "\xff\xff", "\x00\x00\x00\x01", "\x00\x00\x00\x01", "\x00\x01", "\x00\x00\x00\x00"
	body := "\x00\x13\x00\x02\x00\x00\x00\x00" + noClient + one + text(name) + partitions + replicas + none + none + "\x00\x00\x75\x30\x00"
	if _, err := io.WriteString(c, string([]byte{0, 0, 0, byte(len(body))})+body); err != nil {
		t.Fatal(err)
	}
	// Size, correlation, throttle, one topic, its name.
	answer := make([]byte, 4*4+2+len(name)+2)
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatal(err)
	}
	return int16(binary.BigEndian.Uint16(answer[len(answer)-2:]))
}

func TestKafkaNodesMakeACluster(t *testing.T) {
	t.Parallel()
	k := StartKafka(t, KafkaConfig{Nodes: 3})
	k.Nodes[1].Kill()
	k.Nodes[1].Restart()
	for _, addr := range k.Brokers() {
		ids, err := kafkaBrokers(addr)
		for end := time.Now().Add(patience); len(ids) != 3 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond) // a node hears of another a moment later
			ids, err = kafkaBrokers(addr)
		}
		if len(ids) != 3 {
			t.Errorf("%s knows the nodes %v, %v", addr, ids, err)
		}
	}
}

func TestKafkaThatCannotBeHadIsNamed(t *testing.T) {
	if _, err := theReaper(); err != nil { // it needs the true PATH
		t.Fatal(err)
	}
	t.Setenv("WAYBILL_TEST_REQUIRE", "kafka")
	t.Setenv("WAYBILL_TEST_SKIPPED", "") // nothing is skipped in earnest
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	for _, c := range []struct{ program, script, want string }{
		{want: "no kafka: exec: \"java\""},
		{"java", "", "no kafka: exec: \"mvn\""},
		{"mvn", "echo out of reach; exit 1", "exit status 1: out of reach. Try: a connection to a Maven repository"},
	} {
		if c.program != "" {
			if err := os.WriteFile(filepath.Join(bin, c.program), fmt.Appendf(nil, "#!/bin/sh\n%s\n", c.script), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		_, err := installKafkaJars()
		m := (*missing)(nil)
		if !errors.As(err, &m) {
			t.Fatalf("got %v, want %q", err, c.want)
		}
		f := &fakeT{}
		skip(f, m)
		if !strings.Contains(f.failed, c.want) {
			t.Errorf("failed %q, want %q", f.failed, c.want)
		}
	}
}

func TestJavaCanReadWhomThisMachineTrusts(t *testing.T) {
	NeedKafka(t)
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	file := filepath.Join(t.TempDir(), "trusted.pem")
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: https.Certificate().Raw})
	if err := os.WriteFile(file, bytes.Repeat(one, 2), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
	store := filepath.Join(t.TempDir(), "trust.jks")
	if err := systemTrust(store); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("keytool", "-J-Duser.language=en", "-list", "-storetype", "JKS", "-keystore", store).CombinedOutput()
	if err != nil || strings.Count(string(out), "trustedCertEntry") != 2 {
		t.Errorf("%v: %s", err, out)
	}
}
