package rabbitmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// management reads the HTTP API, which alone tells how queues, exchanges and policies are set.
//
// https://www.rabbitmq.com/docs/management#http-api
type management struct {
	client         *http.Client
	base           string
	user, password string
	vhost          string
}

var errNotThere = errors.New("there is none")

func (c *Config) management(s server) (*management, error) {
	u, err := url.Parse(c.ManagementURL)
	if err != nil {
		return nil, errors.New("it is not a URL") // the error holds it, and that a password
	}
	m := &management{vhost: s.uri.Vhost}
	if m.user, m.password, err = c.login(s); err != nil {
		return nil, err
	}
	if u.User != nil {
		m.user = u.User.Username()
		m.password, _ = u.User.Password()
		u.User = nil
	}
	settings, err := c.tls(u.Hostname())
	if err != nil {
		return nil, err
	}
	m.base = strings.TrimSuffix(u.String(), "/") + "/api/"
	m.client = &http.Client{Transport: &http.Transport{TLSClientConfig: settings, DisableKeepAlives: true}}
	return m, nil
}

// get reads what path names into to; nothing there is errNotThere.
func (m *management) get(ctx context.Context, to any, path ...string) error {
	for i := range path {
		path[i] = url.PathEscape(path[i])
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.base+strings.Join(path, "/"), nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(m.user, m.password)
	response, err := m.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(io.LimitReader(response.Body, 64<<20)).Decode(to)
	case http.StatusNotFound:
		return errNotThere
	}
	return fmt.Errorf("the answer to %s is %s", strings.Join(path, "/"), response.Status)
}

type settings map[string]any

type queueInfo struct {
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Durable   bool     `json:"durable"`
	Exclusive bool     `json:"exclusive"`
	Delete    bool     `json:"auto_delete"`
	Arguments settings `json:"arguments"`
	Policy    settings `json:"effective_policy_definition"`
	Members   []string `json:"members"`
	Online    []string `json:"online"`
}

// setting is what an argument of the queue says, or else its policy, where names have no x-.
func (q *queueInfo) setting(name string) any {
	if v, found := q.Arguments["x-"+name]; found {
		return v
	}
	return q.Policy[name]
}

type exchangeInfo struct {
	Type      string   `json:"type"`
	Durable   bool     `json:"durable"`
	Arguments settings `json:"arguments"`
}

// queues returns the names of the queues that a message of topic reaches through exchange. It calls look for every
// exchange on the way.
func (m *management) queues(ctx context.Context, exchange, topic string, look func(name string, e exchangeInfo)) ([]string, error) {
	if exchange == "" {
		return []string{topic}, nil
	}
	var names []string
	seen := map[string]bool{}
	var visit func(string) error
	visit = func(name string) error {
		if seen[name] {
			return nil
		}
		seen[name] = true
		var e exchangeInfo
		if err := m.get(ctx, &e, "exchanges", m.vhost, name); err != nil {
			return err
		}
		look(name, e)
		var bindings []struct {
			Destination string `json:"destination"`
			Type        string `json:"destination_type"`
			Key         string `json:"routing_key"`
		}
		if err := m.get(ctx, &bindings, "exchanges", m.vhost, name, "bindings", "source"); err != nil {
			return err
		}
		for _, b := range bindings {
			switch {
			case !routes(e.Type, b.Key, topic):
			case b.Type == "queue":
				names = append(names, b.Destination)
			default:
				if err := visit(b.Destination); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := visit(exchange)
	slices.Sort(names)
	return slices.Compact(names), err
}

// routes tells whether a binding takes a topic. Exchanges that do not go by the routing key are taken to send everything.
func routes(kind, key, topic string) bool {
	switch kind {
	case "direct":
		return key == topic
	case "topic":
		return matches(strings.Split(key, "."), strings.Split(topic, "."))
	}
	return true
}

func matches(pattern, words []string) bool {
	if len(pattern) == 0 {
		return len(words) == 0
	}
	if pattern[0] == "#" {
		return matches(pattern[1:], words) || len(words) > 0 && matches(pattern, words[1:])
	}
	return len(words) > 0 && (pattern[0] == "*" || pattern[0] == words[0]) && matches(pattern[1:], words[1:])
}
