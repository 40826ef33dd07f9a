package snapshot

import (
	"math/rand/v2"
	"testing"
)

func TestSnapshot(t *testing.T) {
	t.Parallel()
	t.Run("text form survives parsing", func(t *testing.T) {
		for _, text := range []string{"3:3:", "734:736:734", "10:20:10,12,19"} {
			s, err := Parse(text)
			if err != nil || s.String() != text {
				t.Errorf("%s became %s, %v", text, s, err)
			}
		}
		for _, text := range []string{"", "3:3", "a:b:", "5:3:", "1:5:7", "1:9:5,4", "1:9:,"} {
			if s, err := Parse(text); err == nil {
				t.Errorf("%q was taken as %v", text, s)
			}
		}
	})
	t.Run("a cursor survives parsing", func(t *testing.T) {
		for _, text := range []string{"3:3:", "734:736:734 12 740:741:", "3:3: 1 5:9:5,7"} {
			c, err := ParseCursor(text)
			if err != nil || c.String() != text {
				t.Errorf("%s became %s, %v", text, c, err)
			}
		}
		for _, text := range []string{"", "3:3: 5", "3:3: 0 3:3:", "3:3: 5 x", "3:3: 5 3:3: 7"} {
			if c, err := ParseCursor(text); err == nil {
				t.Errorf("%q was taken as %v", text, c)
			}
		}
	})
	t.Run("covering means seeing all that the other sees", func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		make := func() Snapshot {
			s := Snapshot{Xmin: 3 + rnd.Uint64N(4)}
			s.Xmax = s.Xmin + rnd.Uint64N(6)
			for x := s.Xmin; x < s.Xmax; x++ {
				if rnd.IntN(2) == 0 {
					s.Xip = append(s.Xip, x)
				}
			}
			return s
		}
		for range 20_000 {
			a, b := make(), make()
			want := a.Xmax >= b.Xmax
			for x := uint64(0); x < 20; x++ {
				want = want && (a.Sees(x) || !b.Sees(x))
			}
			if a.Covers(b) != want {
				t.Fatalf("%s covers %s: %v", a, b, !want)
			}
		}
	})
}
