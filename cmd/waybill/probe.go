package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
)

// serve answers probes and scrapes until the returned function is called. Requests are not logged.
func (a *app) serve(address string, relays []*running) (stop func(), err error) {
	if address == "off" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &fault.Error{Code: "WB4607", What: "cannot listen for probes", Why: err, Try: "--listen with another address, or --listen off"}
	}
	mux := http.NewServeMux()
	// Alive means that this process answers. Were it to look at database or broker, their outage would restart every relay.
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		var why []string
		for _, p := range pictures(relays) {
			if !p.Ready {
				why = append(why, fmt.Sprintf("relay %s: %s", p.Relay, p.Why))
			}
		}
		if len(why) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, a.redactor.Text(strings.Join(why, "\n")))
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(a.redactor.Writer(w))
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(map[string]any{"relays": pictures(relays)}) // the client went away
	})
	mux.Handle("GET /metrics", a.metricsHandler(relays))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	go server.Serve(listener)
	a.log.Info("probes", "address", listener.Addr().String())
	return func() { server.Close() }, nil
}

// picture is a relay of this process at one moment.
type picture struct {
	Relay       string     `json:"relay"`
	Source      string     `json:"source"`
	Sink        string     `json:"sink"`
	State       string     `json:"state"`
	Ready       bool       `json:"ready"`
	Why         string     `json:"why,omitempty"` // not ready
	Owner       string     `json:"owner,omitempty"`
	Epoch       int64      `json:"epoch,omitempty"`
	Published   uint64     `json:"published"`
	Window      int        `json:"window"`
	InFlight    int        `json:"in_flight"`
	HeldLanes   int        `json:"held_lanes"`
	Outage      bool       `json:"outage"`
	LastError   string     `json:"last_error,omitempty"`
	LastSuccess *time.Time `json:"last_success,omitempty"`
}

func pictures(relays []*running) []picture {
	all := make([]picture, len(relays))
	for i, r := range relays {
		s := r.relay.Status()
		p := picture{Relay: r.name, Source: r.sourceName, Sink: r.sinkName, State: s.State, Owner: s.Owner, Epoch: s.Epoch, Published: s.Published,
			Window: s.Window, InFlight: s.InFlight, HeldLanes: s.HeldLanes, Outage: s.Outage, LastError: s.LastError}
		if !s.LastSuccess.IsZero() {
			at := s.LastSuccess.UTC().Round(0)
			p.LastSuccess = &at
		}
		switch {
		case s.State == "running" && s.Outage:
			p.Why = "the sink confirms nothing: " + s.LastError
		case s.State == "running" || s.State == "standby": // a standby is what it should be
			p.Ready = true
		default:
			p.Why = s.State
			if s.LastError != "" {
				p.Why += ": " + s.LastError
			}
		}
		all[i] = p
	}
	return all
}
