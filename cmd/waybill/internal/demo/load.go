package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	requestsPerSecond = 150
	customers         = 20 // few, so that one customer has registrations close together
	inFlight          = 64 // requests that one service may have open; more are turned away
	takenOneIn        = 20 // requests with a mail address that is taken: their transactions roll back
)

// load sends the same requests to both services at the same moments until ctx ends, and waits for the answers.
func load(ctx context.Context, sides ...*side) {
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: inFlight}}
	defer client.CloseIdleConnections()
	var open sync.WaitGroup
	defer open.Wait()
	slots := make([]chan struct{}, len(sides))
	for i := range slots {
		slots[i] = make(chan struct{}, inFlight)
	}
	tick := time.NewTicker(time.Second / requestsPerSecond)
	defer tick.Stop()
	for n := int64(1); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r := request{number: n, customer: rand.Int32N(customers), email: fmt.Sprintf("user%d@example.org", n), publishFirst: rand.IntN(2) == 0}
		if rand.IntN(takenOneIn) == 0 {
			r.email = takenAddress
		}
		for i, s := range sides {
			select {
			case slots[i] <- struct{}{}:
			default:
				s.failed.Add(1)
				continue
			}
			open.Go(func() {
				defer func() { <-slots[i] }()
				s.ask(client, r)
			})
		}
	}
}

func (s *side) ask(client *http.Client, r request) {
	response, err := client.Post(s.url+r.path(), "", nil)
	if err != nil {
		s.failed.Add(1)
		return
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	if response.StatusCode == http.StatusInternalServerError {
		s.failed.Add(1)
	}
}
