package testenv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// KafkaNode is one node of a [Kafka].
type KafkaNode struct {
	server
	id                        int
	dir                       string
	client, admin, controller int // ports
}

func (n *KafkaNode) properties() string { return filepath.Join(n.dir, "server.properties") }

// ID is the node's number, from 1 on.
func (n *KafkaNode) ID() int { return n.id }

// Addr is the node's address for clients.
func (n *KafkaNode) Addr() string { return loopback(n.client) }

// Stop ends the node gracefully: it hands what it leads to others first. Its data stays for Restart.
func (n *KafkaNode) Stop() {
	n.t.Helper()
	if err := n.end(); err != nil {
		n.t.Fatalf("testenv: stop %s: %v", n.name, err)
	}
}

// Restart starts the node again on the same ports and data, after Stop or Kill, or stops it first.
func (n *KafkaNode) Restart() {
	n.t.Helper()
	if err := n.restart(); err != nil {
		n.t.Fatalf("testenv: restart %s: %v", n.name, err)
	}
}

func (n *KafkaNode) start() error { return n.server.start() }

func (n *KafkaNode) restart() error {
	select {
	case <-n.process.Done():
	default:
		if err := n.end(); err != nil {
			return err
		}
	}
	return n.start()
}

func (n *KafkaNode) end() error {
	err := n.process.stop(n.quit)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 128+int(n.quit) {
		return nil // how Java says that it ended in good order because of that signal
	}
	return err
}

// listed tells whether the node takes requests and knows itself as one that may lead.
func (n *KafkaNode) listed() bool {
	ids, err := kafkaBrokers(loopback(n.admin))
	return err == nil && slices.Contains(ids, int32(n.id))
}

// kafkaBrokers asks a node for the brokers that it knows, by a Metadata request of version 1 for no topic:
// https://kafka.apache.org/protocol#The_Messages_Metadata.
func kafkaBrokers(addr string) (ids []int32, err error) {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	const key, version, correlation, noClient, noTopics = "\x00\x03", "\x00\x01", "\x00\x00\x00\x00", "\xff\xff", "\x00\x00\x00\x00"
	if _, err := io.WriteString(c, "\x00\x00\x00\x0e"+key+version+correlation+noClient+noTopics); err != nil {
		return nil, err
	}
	var size uint32
	if err := binary.Read(c, binary.BigEndian, &size); err != nil {
		return nil, err
	}
	answer := make([]byte, min(size, 1<<16))
	if _, err := io.ReadFull(c, answer); err != nil {
		return nil, err
	}
	r := bytes.NewReader(answer[min(4, len(answer)):]) // behind the correlation
	var count, id, port int32
	err = binary.Read(r, binary.BigEndian, &count)
	for ; count > 0 && err == nil; count-- {
		err = errors.Join(binary.Read(r, binary.BigEndian, &id), skipString(r), binary.Read(r, binary.BigEndian, &port), skipString(r))
		ids = append(ids, id)
	}
	return ids, err
}

func skipString(r *bytes.Reader) error {
	var size int16 // -1: null
	if err := binary.Read(r, binary.BigEndian, &size); err != nil {
		return err
	}
	_, err := r.Seek(int64(max(0, size)), io.SeekCurrent)
	return err
}
