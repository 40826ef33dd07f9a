package poll

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// pause returns how long Wait blocks.
func pause(t *testing.T, p *Pace) time.Duration {
	t.Helper()
	start := time.Now()
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

func TestFirstLookIsDueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if d := pause(t, New(time.Hour, time.Hour)); d != 0 {
			t.Errorf("waited %v", d)
		}
	})
}

func TestBusyReaderLooksEveryMin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2*time.Millisecond, time.Second)
		for range 5 {
			p.Looked(true, 0)
			if d := pause(t, p); d != 2*time.Millisecond {
				t.Errorf("waited %v", d)
			}
		}
	})
}

func TestIdleReaderBacksOffToMaxWithFewLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2*time.Millisecond, time.Second)
		start, looks := time.Now(), 0
		for p.Looked(true, 0); pause(t, p) < time.Second; looks++ {
			p.Looked(false, 0)
		}
		if idle := time.Since(start); idle > 12*time.Second || looks > 80 {
			t.Errorf("reached the longest pause after %v and %d looks", idle, looks)
		}
		p.Looked(true, 0)
		if d := pause(t, p); d != 2*time.Millisecond {
			t.Errorf("after work it waited %v", d)
		}
	})
}

func TestTimeBetweenLooksCountsAsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(10*time.Millisecond, time.Second)
		p.Looked(true, 0)
		time.Sleep(7 * time.Millisecond)
		if d := pause(t, p); d != 3*time.Millisecond {
			t.Errorf("waited %v", d)
		}
	})
}

func TestSlowLookIsRepeatedAfterTwentyTimesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2*time.Millisecond, time.Second)
		p.Looked(true, 90*time.Millisecond)
		if d := pause(t, p); d != 1800*time.Millisecond {
			t.Errorf("waited %v", d)
		}
	})
}

func TestWakeDoesNotHurryASlowLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2*time.Millisecond, time.Minute)
		p.Looked(true, 0)
		time.Sleep(time.Hour)
		p.Looked(false, 90*time.Millisecond)
		p.Wake()
		if d := pause(t, p); d != 1800*time.Millisecond {
			t.Errorf("waited %v", d)
		}
	})
}

func TestWakeEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(time.Minute, time.Minute)
		p.Looked(true, 0)
		go func() {
			time.Sleep(time.Second)
			p.Wake()
			p.Wake()
		}()
		if d := pause(t, p); d != time.Second {
			t.Errorf("waited %v", d)
		}
	})
}

func TestWakeBeforeTheCommitMakesTheNextPausesShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2*time.Millisecond, time.Second)
		p.Looked(true, 0)
		time.Sleep(time.Hour)
		p.Looked(false, 0)
		p.Wake()
		for want := range 3 {
			if d := pause(t, p); d != time.Duration(min(want, 1))*2*time.Millisecond {
				t.Errorf("look %d came after %v", want, d)
			}
			p.Looked(false, 0)
		}
	})
}

func TestContextEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(time.Minute, time.Minute)
		p.Looked(true, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
