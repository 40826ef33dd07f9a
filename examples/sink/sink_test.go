package sink

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybillhq/waybill/cloudevents"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/waybilltest"
)

func TestTheSinkKeepsTheContract(t *testing.T) {
	waybilltest.TestSink(t, func(t *testing.T) waybilltest.SinkHarness {
		e := &endpoint{}
		e.start(t, "127.0.0.1:0")
		t.Cleanup(func() { e.server.Close() })
		return waybilltest.SinkHarness{
			Open:  func(*testing.T) relay.Sink { return New("http://"+e.address, "/example") },
			Topic: "orders", MissingTopic: "nothing", LargestPayload: 1 << 16,
			Received: e.received, Kill: func() { e.server.Close() }, Start: func() { e.start(t, e.address) },
			Lacks: map[waybilltest.SinkAbility]string{waybilltest.Deduplication: "the endpoint keeps every copy"},
		}
	})
}

// endpoint stores what is posted to /orders, in memory, in the order in which it came.
type endpoint struct {
	address string
	server  *http.Server

	mu     sync.Mutex
	stored []waybilltest.Received
}

func (e *endpoint) start(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	e.address = listener.Addr().String()
	e.server = &http.Server{Handler: e}
	go e.server.Serve(listener)
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 120_000))
	var m struct {
		Source string
		relay.Message
	}
	switch {
	case r.URL.Path != "/orders":
		http.NotFound(w, r)
	case err != nil:
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	case json.Unmarshal(body, &m) != nil:
		http.Error(w, "not JSON", http.StatusBadRequest)
	case r.Context().Err() == nil:
		e.stored = append(e.stored, waybilltest.Received{ID: m.ID, Topic: strings.TrimPrefix(r.URL.Path, "/"), Key: m.Key, Type: m.Type, ContentType: m.ContentType,
			Payload: m.Payload, Headers: m.Headers, Time: m.Time, Source: m.Source, Sequence: cloudevents.Sequence(&m.Message)})
		w.WriteHeader(http.StatusNoContent)
	}
}

func (e *endpoint) received(ctx context.Context, n int) ([]waybilltest.Received, error) {
	for {
		e.mu.Lock()
		stored := slices.Clone(e.stored)
		e.mu.Unlock()
		if len(stored) >= n {
			return stored, nil
		}
		select {
		case <-ctx.Done():
			return stored, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}
