package sim

import "strings"

// Shrink returns a plan with fewer faults and messages that breaks the same kind of promise as p does.
func (r *Runner) Shrink(p Plan) Plan {
	kind := r.kind(p)
	smaller := func(q Plan) bool {
		if r.kind(q) != kind {
			return false
		}
		p = q
		return true
	}
	for again := true; again; {
		again = false
		for i := range numFaults {
			q := p
			if q.Without |= 1 << i; draw(p).on(1<<i) && smaller(q) {
				again = true
			}
		}
		for n := draw(p).messages; n > 3; {
			q := p
			if q.Most = n / 2; !smaller(q) {
				if q.Most = n - 1; !smaller(q) {
					break
				}
			}
			n, again = q.Most, true
		}
	}
	return p
}

// kind is the promise that a plan breaks, if it does.
func (r *Runner) kind(p Plan) string {
	if err := r.Run(p, false).Err; err != nil {
		kind, _, _ := strings.Cut(err.Error(), ":")
		return kind
	}
	return ""
}
