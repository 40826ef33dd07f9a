package stress

import (
	"testing"

	"github.com/waybillhq/waybill/relay"
)

func TestOrderStress(t *testing.T) {
	t.Parallel()
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, k, k.database(t))
			last := s.disturb(t)
			observer := NewObserver()
			stop := s.startRelay(t, relay.Config{Sink: Sink{observer}})
			s.load.Run(t.Context(), t)
			// No stall: everything but the last transaction arrives while that one and the others are open.
			s.arrive(t, observer, "all but the last transaction")
			if last != nil {
				if err := last.Commit(); err != nil {
					t.Fatal(err)
				}
				s.arrive(t, observer, "the last transaction")
			}
			stop()
			v := observer.Check(Committed(t.Context(), t, s.db))
			t.Log(v)
			if !v.OK() || v.Duplicates != 0 {
				t.Error("the promise is broken")
			}
		})
	}
}
