package telemetry

import (
	"context"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/waybillhq/waybill/relay"
)

// creations are the creation contexts of the sampled messages, by their place; traced tells that every message brought a
// context, sampled or not. Only sampled ones are parsed: a relay looks at every message.
func creations(messages []*relay.Message) (sampled map[int]trace.SpanContext, traced bool) {
	traced = true
	for i, m := range messages {
		parent := traceparent(m)
		if traced = traced && parent != ""; !maySample(parent) {
			continue
		}
		ctx := propagation.TraceContext{}.Extract(context.Background(), carrier{&m.Message})
		if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
			if sampled == nil {
				sampled = map[int]trace.SpanContext{}
			}
			sampled[i] = sc
		}
	}
	return sampled, traced
}

func traceparent(m *relay.Message) string {
	for _, h := range m.Headers {
		if len(h.Name) == len("traceparent") && strings.EqualFold(h.Name, "traceparent") {
			return h.Value
		}
	}
	return ""
}

// maySample looks at the last digit of the flags: version-trace-parent-flags, 55 characters in version 00.
func maySample(parent string) bool {
	return len(parent) >= 55 && strings.IndexByte("13579bdf", parent[54]) >= 0
}

// errorType is the code of an error, WBnnnn, which docs/errors.md explains, or else what class of outcome it is.
func errorType(err error) string {
	text := err.Error()
	if _, rest, ok := strings.Cut(text, "WB"); ok && len(rest) >= 4 && strings.Trim(rest[:4], "0123456789") == "" {
		return "WB" + rest[:4]
	}
	return relay.Outcome(err)
}

// failures counts how often sampled messages failed, for as long as they are tried.
type failures struct {
	mu    sync.Mutex
	times map[string]int
}

// maxFailures bounds the memory: messages of another owner's success are never taken.
const maxFailures = 10_000

func (f *failures) add(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.times == nil || len(f.times) >= maxFailures && f.times[id] == 0 {
		f.times = map[string]int{}
	}
	f.times[id]++
}

func (f *failures) take(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.times[id]
	delete(f.times, id)
	return n
}
