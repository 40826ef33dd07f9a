// Package relay moves one log to one sink: in order per key, without loss, with bounded duplicates, whatever fails.
//
// A relay reads committed messages from a [Source], keeps at most a window of them in memory, gives them to a [Sink]
// (at most one unconfirmed message a key), and saves through a [Store] how far everything is confirmed. Published means:
// behind the cursor and not parked.
//
//	r, err := relay.New(relay.Config{Name: "orders", Source: src, Store: src, Sink: sink})
//	err = r.Run(ctx) // until ctx ends; a clean end leaves no duplicates behind
//
// Any number of processes may run the same relay: a lease in the source's database lets one of them work.
package relay
