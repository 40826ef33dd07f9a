package relay

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestNewSinkConfirmsEachMessageOnceWhateverTheFuncDoes(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	release := make(chan struct{})
	sink := NewSink(4, func(_ context.Context, m *Message) error {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		<-release
		if m.ID == "3" {
			panic("a bug")
		}
		return nil
	})
	var mu sync.Mutex
	told := map[int]error{}
	var messages []*Message
	for i := range 20 {
		messages = append(messages, &Message{})
		messages[i].ID = fmt.Sprint(i)
	}
	go func() {
		for range messages {
			release <- struct{}{}
		}
	}()
	sink.Publish(t.Context(), messages, func(i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		if _, twice := told[i]; twice {
			t.Errorf("message %d is confirmed twice", i)
		}
		told[i] = err
	})
	sink.Close()
	for i := range messages {
		if err, ok := told[i]; !ok || (err != nil) != (i == 3) {
			t.Errorf("message %d: %v, %v", i, ok, err)
		}
	}
	if !strings.Contains(fmt.Sprint(told[3]), "WB2001") || most.Load() > 4 {
		t.Errorf("%v, %d at once", told[3], most.Load())
	}
	sink.Publish(t.Context(), messages[:1], func(_ int, err error) {
		if err == nil {
			t.Error("a closed sink takes a message")
		}
	})
}
