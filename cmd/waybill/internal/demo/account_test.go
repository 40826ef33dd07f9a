package demo

import "testing"

func TestAccountFindsWhatWasPlanted(t *testing.T) {
	t.Parallel()
	a1, a2, a3 := entry{1, 7, 1}, entry{2, 7, 2}, entry{4, 7, 3}
	b1 := entry{3, 8, 1}
	rows := []entry{a1, a2, b1, a3}
	for _, test := range []struct {
		name     string
		messages []entry
		want     Counts
	}{
		{"nothing wrong", []entry{a1, a2, b1, a3}, Counts{Committed: 4, Received: 4}},
		{"customers may interleave", []entry{b1, a1, a2, a3}, Counts{Committed: 4, Received: 4}},
		{"nothing arrived", nil, Counts{Committed: 4, Lost: 4}},
		{"one is lost", []entry{a1, b1, a3}, Counts{Committed: 4, Received: 3, Lost: 1}},
		{"one never happened", []entry{a1, a2, b1, a3, {9, 7, 4}}, Counts{Committed: 4, Received: 5, Phantom: 1}},
		{"a phantom does not disturb the order", []entry{a1, {9, 7, 9}, a2, b1, a3}, Counts{Committed: 4, Received: 5, Phantom: 1}},
		{"a message that contradicts its row is a loss and a phantom", []entry{a1, {2, 7, 5}, b1, a3}, Counts{Committed: 4, Received: 4, Lost: 1, Phantom: 1}},
		{"two are swapped", []entry{a2, a1, b1, a3}, Counts{Committed: 4, Received: 4, OutOfOrder: 1}},
		{"one comes last", []entry{a2, a3, b1, a1}, Counts{Committed: 4, Received: 4, OutOfOrder: 1}},
		{"a late second copy is a duplicate and in order", []entry{a1, a2, a3, a1, b1}, Counts{Committed: 4, Received: 4, Duplicates: 1}},
		{"every copy counts", []entry{a1, a1, a1, a2, b1, a3, a3}, Counts{Committed: 4, Received: 4, Duplicates: 3}},
		{"a phantom can be doubled", []entry{a1, a2, b1, a3, {9, 1, 1}, {9, 1, 1}}, Counts{Committed: 4, Received: 5, Phantom: 1, Duplicates: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := account(rows, test.messages); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
