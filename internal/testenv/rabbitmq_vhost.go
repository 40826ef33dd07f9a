package testenv

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// rabbit is a RabbitMQ server with its HTTP API, ours or one that the environment names. Both URLs carry user and password.
type rabbit struct{ url, management string }

// URL is where clients connect, to the virtual host "/". It stays the same through Restart.
func (r rabbit) URL() string { return r.url }

// ManagementURL is where the HTTP API answers.
func (r rabbit) ManagementURL() string { return r.management }

// RabbitMQVhost makes a fresh virtual host on the RabbitMQ server that the tests of this process share. It goes when the
// test ends.
func RabbitMQVhost(t T) *Vhost {
	t.Helper()
	if given := os.Getenv("WAYBILL_TEST_RABBITMQ_URL"); given != "" {
		r, err := givenRabbit(given, os.Getenv("WAYBILL_TEST_RABBITMQ_MANAGEMENT_URL"))
		if err != nil {
			t.Fatalf("testenv: %v", err)
		}
		return r.Vhost(t)
	}
	r, err := sharedRabbitMQ()
	mustHave(t, "start the shared rabbitmq: ", err)
	r.showSince(t)
	return r.Vhost(t)
}

// givenRabbit is a server named by its URL; its HTTP API is on the usual port unless that is named too.
func givenRabbit(given, management string) (rabbit, error) {
	u, err := url.Parse(given)
	if err != nil {
		return rabbit{}, errors.New("WAYBILL_TEST_RABBITMQ_URL is not a URL")
	}
	if management == "" {
		management = (&url.URL{Scheme: "http", User: u.User, Host: u.Hostname() + ":15672"}).String()
	}
	return rabbit{given, management}, nil
}

// Vhost is a virtual host of a RabbitMQ server. Its URL carries user, password and the virtual host.
type Vhost struct {
	Name, URL string
	rabbit
}

// Vhost makes a fresh virtual host, which goes when the test ends.
func (r rabbit) Vhost(t T) *Vhost {
	t.Helper()
	v := &Vhost{Name: "waybill-" + strings.ToLower(rand.Text()[:12]), rabbit: r}
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatalf("testenv: the server's URL: %v", err)
	}
	u.Path = "/" + v.Name
	v.URL = u.String()
	r.API(t, "PUT", "/vhosts/"+v.Name, nil)
	t.Cleanup(func() {
		if _, err := r.api("DELETE", "/vhosts/"+v.Name, nil); err != nil {
			t.Logf("testenv: delete virtual host %s: %v", v.Name, err) // such as a server that the test has killed
		}
	})
	return v
}

// Get reads from the server's HTTP API.
func (r rabbit) Get(path string) (string, error) { return r.api("GET", path, nil) }

// API sends a request to the server's HTTP API and returns the answer. body is made JSON.
func (r rabbit) API(t T, method, path string, body any) string {
	t.Helper()
	answer, err := r.api(method, path, body)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return answer
}

func (r rabbit) api(method, path string, body any) (string, error) {
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return "", err
		}
	}
	request, err := http.NewRequest(method, r.management+"/api"+path, bytes.NewReader(encoded))
	if err != nil {
		return "", err
	}
	request.Close = true // no idle connection to a server that may be killed
	response, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode >= 300 {
		return "", fmt.Errorf("%s %s: %s %s", method, path, response.Status, answer)
	}
	return string(answer), nil
}

// Policy sets a policy of the virtual host for queues whose name matches pattern.
func (v *Vhost) Policy(t T, name, pattern string, definition map[string]any) {
	t.Helper()
	v.API(t, "PUT", "/policies/"+v.Name+"/"+name, map[string]any{"pattern": pattern, "definition": definition, "apply-to": "all"})
}
