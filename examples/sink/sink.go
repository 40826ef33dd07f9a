// Package sink shows that a broker of your own takes about forty lines: each message is posted as JSON to an HTTP endpoint. It is
// given to a relay like any other sink:
//
//	r, err := relay.New(relay.Config{Name: "orders", Source: source, Store: source, Sink: &sink.Sink{URL: "https://events.example.org"}})
//
// The relay does the rest: order per key, retries with back-off, messages set aside, one owner. The test beside it is the
// suite that every sink of Waybill passes.
package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/waybillhq/waybill/relay"
)

// Sink is a relay.Sink. URL is where to post, Source the CloudEvents source of all messages.
type Sink struct {
	URL, Source string

	use    sync.RWMutex
	closed bool
}

// Publish implements relay.Sink: each message is confirmed once, with what became of it.
func (s *Sink) Publish(ctx context.Context, messages []*relay.Message, confirm func(i int, err error)) {
	s.use.RLock()
	defer s.use.RUnlock()
	for i, m := range messages {
		confirm(i, s.post(ctx, m))
	}
}

func (s *Sink) post(ctx context.Context, m *relay.Message) error {
	body, err := json.Marshal(struct {
		Source string
		*relay.Message
	}{s.Source, m})
	if err != nil || s.closed {
		return errors.Join(err, errors.New("nothing was sent"))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/"+url.PathEscape(m.Topic), bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request) // nothing is written once ctx has ended
	if err != nil {
		return err // an outage or an unknown outcome: the relay sends it again
	}
	response.Body.Close()
	err = fmt.Errorf("the endpoint answered %s", response.Status)
	switch response.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return nil // stored
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return relay.Rejected(err) // this message can never be stored
	case http.StatusForbidden, http.StatusNotFound:
		return relay.Topic(err) // its topic is missing
	}
	return err
}

// Close waits for Publish.
func (s *Sink) Close() error {
	s.use.Lock()
	defer s.use.Unlock()
	s.closed = true
	return nil
}
