package sim

import (
	"math"
	"time"
)

// event is what happens at a moment: a task goes on, a process's timer rings, or fn runs.
type event struct {
	at   time.Duration
	tie  uint32 // drawn: the order of what happens at the same moment
	gen  uint32
	task *task
	proc *proc
	fn   func()
}

const never = time.Duration(math.MaxInt64)

// heap orders events by time.
type heap []event

func (h heap) less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].tie < h[j].tie
}

func (h *heap) push(e event) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s.less(i, up) {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *heap) pop() event {
	s := *h
	top, last := s[0], len(s)-1
	s[0], s[last] = s[last], event{}
	s = s[:last]
	for i := 0; ; {
		low := 2*i + 1
		if low >= last {
			break
		}
		if low+1 < last && s.less(low+1, low) {
			low++
		}
		if !s.less(low, i) {
			break
		}
		s[i], s[low] = s[low], s[i]
		i = low
	}
	*h = s
	return top
}
