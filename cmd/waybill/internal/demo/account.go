package demo

// entry is one registration: as its row in the database says it, or as a message at the broker says it. A message whose
// entry is in no row speaks of something that never happened.
type entry struct {
	Request  int64 `json:"request"`  // the number of the request that made it, unique
	Customer int32 `json:"customer"` // the ordering key
	Version  int32 `json:"version"`  // 1, 2, 3, ... within the customer, in commit order
}

// Counts is what became of one service's registrations.
type Counts struct {
	Committed  int `json:"committed"`    // registrations in the database
	Received   int `json:"received"`     // different messages that a consumer found at the broker
	Lost       int `json:"lost"`         // registrations without a message
	Phantom    int `json:"phantom"`      // messages without a registration
	OutOfOrder int `json:"out_of_order"` // first copies that came after a newer version of the same customer
	Duplicates int `json:"duplicates"`   // copies after the first
}

// kept tells whether the promise held: G1, G2 and G3. Duplicates are allowed (G4).
func (c Counts) kept() bool { return c.Lost == 0 && c.Phantom == 0 && c.OutOfOrder == 0 }

// account compares the rows of the database with the messages in the order in which a consumer received them.
func account(rows, messages []entry) Counts {
	const isRow, isReceived = 1, 2
	state := make(map[entry]int8, len(rows))
	for _, row := range rows {
		state[row] = isRow
	}
	c := Counts{Committed: len(rows)}
	newest := map[int32]int32{}
	for _, m := range messages {
		was := state[m]
		if was&isReceived != 0 {
			c.Duplicates++
			continue
		}
		state[m] = was | isReceived
		c.Received++
		switch {
		case was&isRow == 0:
			c.Phantom++
		case m.Version < newest[m.Customer]:
			c.OutOfOrder++
		default:
			newest[m.Customer] = m.Version
		}
	}
	c.Lost = c.Committed - (c.Received - c.Phantom)
	return c
}
