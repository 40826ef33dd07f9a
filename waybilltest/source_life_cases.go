package waybilltest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/waybillhq/waybill/relay"
)

type readResult struct {
	ids []string
	err error
}

// readAside reads in another goroutine until there are messages or an error.
func (c *sourceCase) readAside(ctx context.Context) <-chan readResult {
	reader, result := c.reader, make(chan readResult, 1)
	go func() {
		for {
			batch, err := reader.Read(ctx, wide)
			if err != nil || len(batch.Messages) > 0 {
				var ids []string
				for _, m := range batch.Messages {
					ids = append(ids, m.ID)
				}
				result <- readResult{ids, err}
				return
			}
		}
	}()
	return result
}

func (c *sourceCase) waits() {
	result := c.readAside(c.within(patience))
	runtime.Gosched()
	c.commit(message("a", "1"))
	if r := <-result; r.err != nil || !slices.Equal(r.ids, []string{"a-1"}) {
		c.t.Fatalf("read %s, %v", r.ids, r.err)
	}
}

func (c *sourceCase) wakes() {
	waker, ok := c.reader.(relay.Waker)
	if !ok {
		c.t.Skip("this reader needs no waking: it is no relay.Waker")
	}
	for i := range 3 {
		result := c.readAside(c.within(patience))
		waker.Wake() // before there is anything
		c.commit(message("a", fmt.Sprint(i)))
		waker.Wake()
		waker.Wake()
		if r := <-result; r.err != nil || !slices.Equal(r.ids, []string{fmt.Sprintf("a-%d", i)}) {
			c.t.Fatalf("read %s, %v", r.ids, r.err)
		}
	}
}

func (c *sourceCase) usable() {
	for i := range 5 {
		ctx, cancel := context.WithCancel(c.t.Context())
		result := c.readAside(ctx)
		runtime.Gosched()
		cancel()
		if r := <-result; !errors.Is(r.err, context.Canceled) {
			c.t.Fatalf("after the end of its context Read returned %s, %v", r.ids, r.err)
		}
		c.commit(message("a", fmt.Sprint(i)))
		c.want(fmt.Sprintf("a-%d", i))
	}
	// A context that ends while there is work must not lose that work.
	for i := range 20 {
		ctx, cancel := context.WithCancel(c.t.Context())
		result := c.readAside(ctx)
		c.commit(message("b", fmt.Sprint(i)))
		cancel()
		switch r := <-result; {
		case errors.Is(r.err, context.Canceled):
			c.want(fmt.Sprintf("b-%d", i))
		case r.err != nil || !slices.Equal(r.ids, []string{fmt.Sprintf("b-%d", i)}):
			c.t.Fatalf("read %s, %v", r.ids, r.err)
		}
	}
}

func (c *sourceCase) posGrows() {
	last := map[string]int64{}
	seen := map[int64]bool{}
	for i := range 20 {
		c.commit(message("a", fmt.Sprint(i)), message("b", fmt.Sprint(i)))
		if i%7 != 0 {
			continue
		}
		c.reopen()
		for _, m := range c.take(2 * min(i+1, 7)) {
			if m.Pos <= last[m.Key] || seen[m.Pos] || m.Incarnation < 1 {
				c.t.Fatalf("%s has pos %d after %d, incarnation %d", m.ID, m.Pos, last[m.Key], m.Incarnation)
			}
			last[m.Key], seen[m.Pos] = m.Pos, true
		}
		c.save(len(c.last), false)
	}
}

func (c *sourceCase) closes() {
	result := c.readAside(c.within(patience))
	runtime.Gosched()
	if err := c.reader.Close(); err != nil {
		c.t.Errorf("close: %v", err)
	}
	if r := <-result; r.err == nil {
		c.t.Errorf("a closed reader returned %s", r.ids)
	} else if errors.Is(r.err, context.DeadlineExceeded) {
		c.t.Error("closing did not end the read")
	}
	if err := c.reader.Close(); err != nil {
		c.t.Errorf("close again: %v", err)
	}
	c.reader = nil
}

func (c *sourceCase) survivesCrash() {
	c.commit(message("a", "1"), message("a", "2"), message("a", "3"))
	c.take(3)
	c.save(1, true)
	c.crash()
	c.want("a-2", "a-3")
	c.commit(message("a", "4"))
	c.want("a-4")
}

func (c *sourceCase) crash() {
	c.t.Helper()
	c.Crash(c.t)
	_ = c.reader.Close() // it may say that its connection is gone
	c.reader = nil
	c.reopen()
}

// readIsDurable reads what a writer has committed but not flushed. Had the crash taken it back, a relay would have made a phantom.
func (c *sourceCase) readIsDurable() {
	var ids []string
	for i := range 3 {
		tx := c.BeginLazy(c.t)
		tx.Publish(message("a", fmt.Sprint(i)))
		tx.Commit()
		ids = append(ids, fmt.Sprintf("a-%d", i))
		c.want(ids[i])
		c.crash()
		c.want(ids...)
	}
}

func (c *sourceCase) leavesNoGoroutine() {
	use := func(i int) {
		c.commit(message("a", fmt.Sprint(i)))
		c.want(fmt.Sprintf("a-%d", i))
		c.save(1, false)
		ctx, cancel := context.WithCancel(c.t.Context())
		result := c.readAside(ctx)
		cancel()
		<-result
		c.reopen()
	}
	c.keep = true
	c.reopen()
	use(0) // what the pools keep for good begins here
	before := runtime.NumGoroutine()
	const rounds = 20
	for i := range rounds {
		use(i + 1)
	}
	leaked(c.t, before, rounds)
}

// leaked fails when each of so many rounds left a goroutine. Other tests may run beside this one, so fewer say nothing.
func leaked(t *testing.T, before, rounds int) {
	t.Helper()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() >= before+rounds; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines more after %d rounds:\n%s", runtime.NumGoroutine()-before, rounds, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
