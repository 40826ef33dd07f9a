package sink_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	client "github.com/nats-io/nats.go/jetstream"

	"github.com/waybillhq/waybill/sink/jetstream"
)

// A cluster of three that loses two has no majority: nothing is confirmed, no topic is called missing, and all arrives when
// they are back.
func TestAClusterOfThreeWithoutMajorityIsAnOutage(t *testing.T) {
	t.Parallel()
	nodes, urls := startCluster(t)
	c := &consumer{connect: func() (*nats.Conn, error) { return nats.Connect(urls) }}
	var err error
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // until there is a leader
		if err = makeReplicated(c); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	sink := newSink(t, urls, jetstream.Config{Stream: "orders"})
	defer sink.Close()
	sendUntilStored(t, sink, many("orders", 0, 100)...)
	if found, err := sink.Check(t.Context(), []string{"orders"}); err != nil || len(found) > 0 {
		t.Errorf("check: %v", found)
	}
	nodes[1].stop()
	nodes[2].stop()
	for n := range 5 {
		for _, err := range send(t, sink, 500*time.Millisecond, many("orders", 100+n*10, 110+n*10)...) {
			if class(err) != "temporary" {
				t.Fatalf("without a majority: %s, %v", class(err), err)
			}
		}
	}
	nodes[1].start()
	nodes[2].start()
	sendUntilStored(t, sink, many("orders", 100, 200)...)
	got := c.stored(t, 200)
	if len(got) != 200 {
		t.Errorf("%d are stored, want 200", len(got))
	}
}

func makeReplicated(c *consumer) error {
	nc, err := c.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := client.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err = js.CreateStream(ctx, client.StreamConfig{Name: "orders", Subjects: []string{"orders"}, Replicas: 3})
	if errors.Is(err, client.ErrStreamNameAlreadyInUse) {
		err = nil
	}
	c.stream = "orders"
	return err
}

func startCluster(t *testing.T) (nodes []*embedded, urls string) {
	t.Helper()
	ports := freePorts(t, 6)
	var routes []*url.URL
	var list []string
	for n := range 3 {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprint("127.0.0.1:", ports[n])})
		list = append(list, fmt.Sprint("127.0.0.1:", ports[3+n]))
	}
	for n := range 3 {
		nodes = append(nodes, startEmbedded(t, &server.Options{ServerName: fmt.Sprint("node-", n), Host: "127.0.0.1", Port: ports[3+n],
			Routes: routes, Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[n]}}))
	}
	return nodes, strings.Join(list, ",")
}

func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all at the end, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
