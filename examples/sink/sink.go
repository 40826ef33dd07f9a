// Package sink shows that a broker of your own takes about twenty lines: each message is posted as JSON to an HTTP endpoint. It is
// given to a relay like any other sink:
//
//	r, err := relay.New(relay.Config{Name: "orders", Source: source, Store: source, Sink: sink.New("https://events.example.org", "/shop")})
//
// The relay does the rest: order per key, retries with back-off, messages set aside, topics that wait, one owner. The test
// beside it is the suite that every sink of Waybill passes.
package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/waybillhq/waybill/relay"
)

// New returns a sink that posts to endpoint/TOPIC, at most 16 messages at once. source is the CloudEvents source of all messages.
func New(endpoint, source string) relay.Sink {
	return relay.NewSink(16, func(ctx context.Context, m *relay.Message) error {
		body, err := json.Marshal(struct {
			Source string
			*relay.Message
		}{source, m})
		if err != nil {
			return relay.Rejected(err)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+"/"+url.PathEscape(m.Topic), bytes.NewReader(body))
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request) // nothing is written once ctx has ended
		if err != nil {
			return err // an outage or an unknown outcome: the relay sends it again
		}
		response.Body.Close()
		switch err := fmt.Errorf("the endpoint answered %s", response.Status); response.StatusCode {
		case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
			return nil // stored
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
			return relay.Rejected(err) // this message can never be stored
		case http.StatusForbidden, http.StatusNotFound:
			return relay.Topic(err) // its topic is missing
		default:
			return err
		}
	})
}
