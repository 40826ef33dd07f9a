package relay_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/waybilltest"
)

// notes is an Observer that writes down each outcome and gives the sink a context of its own.
type notes struct {
	mu       sync.Mutex
	outcomes map[string][]string
}

type noteKey struct{}

func (n *notes) Send(ctx context.Context, messages []*relay.Message) (context.Context, func(int, error)) {
	return context.WithValue(ctx, noteKey{}, true), func(i int, err error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		id := messages[i].ID
		n.outcomes[id] = append(n.outcomes[id], relay.Outcome(err))
	}
}

func TestTheObserverGetsEachOutcomeAndTheSinkItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, broker, seen := waybilltest.NewLog(), &waybilltest.Broker{}, &notes{outcomes: map[string][]string{}}
		failed, strange := false, false
		broker.Intercept(func(ctx context.Context, m *relay.Message, store func() error) error {
			if ctx.Value(noteKey{}) == nil {
				strange = true
			}
			if m.ID == "2" && !failed {
				failed = true
				return errors.New("an outage")
			}
			return store()
		})
		r, err := relay.New(relay.Config{Name: "r", Source: log, Store: log, Sink: broker.Sink(), Observer: seen})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		log.Publish(waybill.Message{Topic: "t", Type: "n"}, waybill.Message{Topic: "t", Type: "n"})
		if _, err := broker.Received(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if strange {
			t.Error("the sink did not get the observer's context")
		}
		if one, two := seen.outcomes["1"], seen.outcomes["2"]; len(one) != 1 || one[0] != "published" || len(two) != 2 || two[0] != "temporary" || two[1] != "published" {
			t.Errorf("outcomes %v", seen.outcomes)
		}
	})
}
