package main

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/cmd/waybill/internal/look"
	"github.com/waybillhq/waybill/internal/sqlstore"
)

type parkedShowCmd struct {
	Name  string `arg:"" name:"id|pos" help:"The message, by its id or pos."`
	Relay string `placeholder:"NAME" help:"The message of this relay."`
	Full  bool   `help:"Show the whole body, not only its first 4 KiB."`
}

// wholeJSON is all of a message set aside. The body stands in one of payload and payload_base64, or is null: a tombstone.
type wholeJSON struct {
	asideJSON
	ContentType string       `json:"content_type"`
	Time        *time.Time   `json:"time"`
	Headers     []headerJSON `json:"headers"`
	Payload     *string      `json:"payload"`
	Base64      string       `json:"payload_base64,omitempty"`
	Bytes       int          `json:"payload_bytes"`
	Behind      int          `json:"waiting_behind"`
	History     []actionJSON `json:"history"`
	// Edit is what was asked for and is not done yet; its payload is hexadecimal.
	Edit json.RawMessage `json:"edit,omitempty"`
}

type headerJSON struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type actionJSON struct {
	Ago    float64         `json:"seconds_ago"`
	Who    string          `json:"who"`
	Action string          `json:"action"`
	Before json.RawMessage `json:"before,omitempty"`
}

const shownBody = 4 << 10

func (c parkedShowCmd) Run(ctx context.Context, a *app) error {
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	places, err := a.places(ctx, c.Relay)
	if err != nil {
		return err
	}
	defer closePlaces(places)
	m, err := filters{Relay: c.Relay}.one(ctx, places, c.Name)
	if err != nil {
		return c.gone(ctx, places, err)
	}
	w, err := m.store.WholeAside(ctx, m.Relay, m.Pos)
	if err != nil {
		return m.failed("read the body of a message set aside", err)
	}
	behind, err := m.store.Behind(ctx, m.Aside, look.Most)
	if err != nil {
		return m.failed("count what waits behind a message", err)
	}
	history, err := m.store.History(ctx, m.Relay, []int64{m.Pos}, 0, true)
	if err != nil {
		return m.failed("read what was done to a message", err)
	}
	v := wholeJSON{asideJSON: m.json(), ContentType: w.ContentType, Headers: []headerJSON{}, Bytes: len(w.Payload), Behind: behind, History: []actionJSON{}, Edit: json.RawMessage(w.Edit)}
	if !w.Time.IsZero() {
		v.Time = &w.Time
	}
	for _, h := range w.Headers {
		v.Headers = append(v.Headers, headerJSON(h))
	}
	if text := string(w.Payload); w.Payload != nil && utf8.ValidString(text) {
		v.Payload = &text
	} else if w.Payload != nil {
		v.Base64 = base64.StdEncoding.EncodeToString(w.Payload)
	}
	for _, h := range history {
		if h.ID == m.ID { // numbers may have begun anew
			v.History = append(v.History, actionJSON{*secs(h.Ago), h.Who, h.Action, json.RawMessage(h.Before)})
		}
	}
	if a.Output == "json" {
		return a.print(v, nil, nil)
	}
	if err := a.print(nil, nil, v.rows()); err != nil {
		return err
	}
	body := w.Payload
	if !c.Full {
		body = body[:min(len(body), shownBody)]
	}
	fmt.Fprintln(a.out, bodyText(w.Payload, body))
	return nil
}

// gone adds to the error about a message that is not set aside what was done to it, if anything was.
func (c parkedShowCmd) gone(ctx context.Context, places []*place, err error) error {
	var missing *fault.Error
	if !errors.As(err, &missing) || missing.Code != "WB4801" {
		return err
	}
	for _, p := range places {
		done, failed := p.store.LastAction(ctx, c.Name)
		if errors.Is(failed, sql.ErrNoRows) {
			continue
		}
		if failed != nil {
			return p.failed("read what was done to a message", failed)
		}
		became := map[string]string{sqlstore.Discard: "it was discarded", sqlstore.Edit: "it was edited, and is published since", sqlstore.Retry: "it was tried again, and is published since"}[done.Action]
		missing.Why = fmt.Errorf("for relay %s %s: %s ago by %s", done.Relay, became, age(secs(done.Ago)), plain(done.Who))
		missing.Try = "the table audit, which keeps what was edited or discarded"
		return missing
	}
	return err
}

func (v wholeJSON) rows() [][]string {
	waiting := fmt.Sprint(v.Behind)
	if v.Behind >= look.Most {
		waiting += "+"
	}
	rows := [][]string{
		{"relay", v.Relay}, {"pos", fmt.Sprint(v.Pos)}, {"id", plain(v.ID)}, {"topic", plain(v.Topic)}, {"key", or(plain(v.Key), "(none)")}, {"type", plain(v.Type)},
		{"content type", or(plain(v.ContentType), "(none)")}, {"state", v.State}, {"attempts", fmt.Sprint(v.Attempts)},
		{"error", or(plain(v.Error), "(waits behind another of its key)")}, {"group", v.Group},
		{"aside since", time.Now().Add(-time.Duration(v.Age*float64(time.Second))).UTC().Format(time.RFC3339) + ", " + age(&v.Age) + " ago"},
		{"behind it", waiting + " of its key"},
	}
	if v.Time != nil {
		rows = append(rows, []string{"time", v.Time.Format(time.RFC3339Nano)})
	}
	if v.Request != "" {
		var edit map[string]any
		what := ""
		if json.Unmarshal(v.Edit, &edit) == nil {
			what = " of " + strings.Join(slices.Sorted(maps.Keys(edit)), ", ")
		}
		rows = append(rows, []string{"asked", v.Request + what + " by " + plain(v.RequestedBy)})
	}
	for _, h := range v.History {
		rows = append(rows, []string{"history", age(&h.Ago) + " ago " + h.Action + " by " + plain(h.Who)})
	}
	for _, h := range v.Headers {
		rows = append(rows, []string{"header", plain(h.Name + "=" + h.Value)})
	}
	return rows
}

// bodyText shows a body, or the part of it that is to be shown, as text where it is text.
func bodyText(whole, part []byte) string {
	if whole == nil {
		return "body          none: a tombstone"
	}
	// The cut may have gone through a character.
	for tail := len(part); len(part) < len(whole) && tail > len(part)-utf8.UTFMax && tail > 0; tail-- {
		if utf8.Valid(part[:tail]) {
			part = part[:tail]
			break
		}
	}
	text, how := string(part), "text"
	isControl := func(r rune) bool { return r != '\n' && r != '\t' && r != '\r' && plain(string(r)) != string(r) }
	if !utf8.ValidString(text) || strings.ContainsFunc(text, isControl) {
		text, how = strings.TrimSuffix(hex.Dump(part), "\n"), "not text"
	}
	head := fmt.Sprintf("body          %d bytes, %s", len(whole), how)
	if len(part) < len(whole) {
		head += fmt.Sprintf("; its first %d (--full shows all)", len(part))
	}
	return head + "\n" + text
}
