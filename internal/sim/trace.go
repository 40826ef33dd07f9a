package sim

import (
	"fmt"
	"strings"
	"time"
)

// trace is the log of what happened: always as a hash, by which two runs are compared, and as text when somebody reads it.
type trace struct {
	hash  uint64
	keep  bool
	lines []string
}

const prime = 0x100000001b3 // of FNV-1a

func (tr *trace) mix(v uint64) { tr.hash = (tr.hash ^ v) * prime }

func (tr *trace) mixText(s string) {
	for i := range len(s) {
		tr.hash = (tr.hash ^ uint64(s[i])) * prime
	}
}

// log notes that who did what, with a number and a text that belong to it.
func (w *world) log(who, what string, n int64, text string) {
	w.mix(uint64(w.now))
	w.mixText(who)
	w.mixText(what)
	w.mix(uint64(n))
	w.mixText(text)
	if w.keep {
		w.lines = append(w.lines, line(w.now, who, what, n, text))
	}
}

func line(at time.Duration, who, what string, n int64, text string) string {
	number := ""
	if n != 0 {
		number = fmt.Sprint(n)
	}
	return strings.TrimRight(fmt.Sprintf("%12.3fms  %-9s %-22s %6s  %s", float64(at)/1e6, who, what, number, text), " ")
}
