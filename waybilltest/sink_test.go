package waybilltest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/waybilltest"
)

func TestTheSinkInMemoryKeepsTheContract(t *testing.T) {
	waybilltest.TestSink(t, func(*testing.T) waybilltest.SinkHarness {
		b := &waybilltest.Broker{Topics: []string{"things"}, MaxPayload: 1 << 16, Deduplicate: true}
		return waybilltest.SinkHarness{
			Open:  func(*testing.T) relay.Sink { return b.Sink() },
			Topic: "things", MissingTopic: "nothing", LargestPayload: 1 << 16,
			Received: b.Received, Kill: b.Stop, Start: b.Start,
		}
	})
}

func TestTheBrokerInMemoryNeedsNoRealTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b waybilltest.Broker
		lost := errors.New("acknowledgement lost")
		b.Intercept(func(ctx context.Context, m *relay.Message, store func() error) error {
			switch m.ID {
			case "slow":
				time.Sleep(time.Hour)
			case "lost":
				return errors.Join(store(), lost)
			case "stuck":
				<-ctx.Done()
			}
			return store()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		messages := []*relay.Message{{Message: waybill.Message{ID: "slow"}}, {Message: waybill.Message{ID: "lost"}}, {Message: waybill.Message{ID: "stuck"}}, {Message: waybill.Message{ID: "well"}}}
		got, took, began := make([]error, 4), make([]time.Duration, 4), time.Now()
		sink := b.Sink()
		sink.Publish(ctx, messages, func(i int, err error) { got[i], took[i] = err, time.Since(began) })
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
		if got[0] != nil || took[0] != time.Hour {
			t.Errorf("slow: %v after %v", got[0], took[0])
		}
		if !errors.Is(got[1], lost) || took[1] != 0 {
			t.Errorf("lost: %v after %v", got[1], took[1])
		}
		if !errors.Is(got[2], context.DeadlineExceeded) || took[2] != 2*time.Hour {
			t.Errorf("stuck: %v after %v", got[2], took[2])
		}
		if got[3] != nil || took[3] != 0 {
			t.Errorf("well: %v after %v", got[3], took[3])
		}
		stored, err := b.Received(ctx, 3)
		if err != nil || len(stored) != 3 {
			t.Errorf("stored %v, %v", stored, err)
		}
	})
}
