package sink_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// troubledNet is a network between a sink and its broker that can be made bad.
type troubledNet struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
	url   string
}

// newTroubledNet returns a way to the server at the URL that is good at first.
func newTroubledNet(t *testing.T, at string) *troubledNet {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	n := &troubledNet{t: t, proxy: toxiproxy.NewProxy(api, "net", "127.0.0.1:0", u.Host)}
	if err := n.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.proxy.Stop)
	u.Host = n.proxy.Listen
	n.url = u.String()
	return n
}

// add makes the way up (to the broker) or down bad; names of trouble: latency, timeout, reset_peer, slicer, bandwidth.
func (n *troubledNet) add(kind, way string, attributes map[string]any) {
	n.t.Helper()
	text, err := json.Marshal(map[string]any{"name": kind + way, "type": kind, "stream": way + "stream", "attributes": attributes})
	if err == nil {
		_, err = n.proxy.Toxics.AddToxicJson(strings.NewReader(string(text)))
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *troubledNet) remove(kind, way string) {
	n.t.Helper()
	if err := n.proxy.Toxics.RemoveToxic(context.Background(), kind+way); err != nil {
		n.t.Fatal(err)
	}
}
