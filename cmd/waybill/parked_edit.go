package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/internal/sqlstore"
)

type parkedEditCmd struct {
	askFlags
	Payload     string   `placeholder:"FILE|-" help:"The new body, from a file or standard input."`
	Editor      bool     `help:"Change the body in $$VISUAL or $$EDITOR."`
	Header      []string `sep:"none" placeholder:"NAME=VALUE" help:"Set one header, or remove it with NAME=; may be given several times."`
	ContentType *string  `placeholder:"TYPE" help:"The new content type."`
	Topic       *string  `help:"The new topic."`
	Type        *string  `help:"The new type."`
}

func (c parkedEditCmd) Run(ctx context.Context, a *app) error {
	if c.Payload == "" && !c.Editor && len(c.Header) == 0 && c.ContentType == nil && c.Topic == nil && c.Type == nil {
		return &fault.Error{Code: "WB4808", What: "nothing says what to change", Try: "--payload, --editor, --header, --content-type, --topic or --type; " +
			"key and id cannot be edited: the key gives the order, and the id is what consumers know a copy by", Exit: fault.Usage}
	}
	if c.Payload != "" && c.Editor {
		return &fault.Error{Code: "WB4808", What: "--payload and --editor exclude each other", Exit: fault.Usage}
	}
	return c.run(ctx, a, sqlstore.Edit, "", func(ctx context.Context, list []asideMessage) (map[asideMessage]string, error) {
		return c.edits(ctx, a, list)
	})
}

// edits returns what changes of each message.
func (c parkedEditCmd) edits(ctx context.Context, a *app, list []asideMessage) (edits map[asideMessage]string, err error) {
	var body []byte
	if c.Payload == "-" {
		body, err = readAll(ctx, a.in)
	} else if c.Payload != "" {
		body, err = os.ReadFile(c.Payload)
	}
	if err != nil {
		return nil, &fault.Error{Code: "WB4609", What: "read the body from " + c.Payload, Why: err, Exit: fault.Exit(err)}
	}
	if c.Editor && len(list) > 1 {
		return nil, &fault.Error{Code: "WB4808", What: fmt.Sprintf("--editor changes one message, and %d are chosen", len(list)), Exit: fault.Usage}
	}
	edits = map[asideMessage]string{}
	for _, m := range list {
		whole, err := m.store.WholeAside(ctx, m.Relay, m.Pos)
		if err != nil {
			return nil, m.failed("read a message set aside", err)
		}
		from := waybill.Message{ID: whole.ID, Topic: whole.Topic, Key: whole.Key, Type: whole.Type, Payload: whole.Payload, ContentType: whole.ContentType, Headers: whole.Headers}
		to, err := sqlstore.Apply(from, whole.Edit) // what is asked for already stays asked for
		if err != nil {
			return nil, m.failed("read the edit that is asked for", err)
		}
		if c.Payload != "" {
			to.Payload = append([]byte{}, body...)
		}
		if c.Editor {
			if to.Payload, err = edited(ctx, to.Payload); err != nil {
				return nil, err
			}
		}
		if to, err = c.fields(to); err != nil {
			return nil, err
		}
		text := sqlstore.Edited(from, to)
		if text == "" {
			return nil, &fault.Error{Code: "WB4808", What: fmt.Sprintf("nothing of message %s changes", m.ID), Try: "waybill parked show " + m.ID + "; waybill parked retry " + m.ID, Exit: fault.Usage}
		}
		if err := valid(m.place, from, to); err != nil {
			return nil, &fault.Error{Code: "WB4809", What: fmt.Sprintf("message %s would not be valid", m.ID), Why: err}
		}
		edits[m] = text
	}
	return edits, nil
}

// fields changes what flags name.
func (c parkedEditCmd) fields(m waybill.Message) (waybill.Message, error) {
	for _, f := range []struct{ to, from *string }{{&m.ContentType, c.ContentType}, {&m.Topic, c.Topic}, {&m.Type, c.Type}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	m.Headers = slices.Clone(m.Headers)
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, "=")
		if !ok {
			return m, &fault.Error{Code: "WB4601", What: fmt.Sprintf("--header %q is not NAME=VALUE", h), Exit: fault.Usage}
		}
		at := slices.IndexFunc(m.Headers, func(h waybill.Header) bool { return strings.EqualFold(h.Name, name) })
		switch {
		case value == "" && at >= 0:
			m.Headers = slices.Delete(m.Headers, at, at+1)
		case value == "":
		case at >= 0:
			m.Headers[at] = waybill.Header{Name: name, Value: value}
		default:
			m.Headers = append(m.Headers, waybill.Header{Name: name, Value: value})
		}
	}
	return m, nil
}

// valid returns what Publish would find wrong with what was edited. What was there before may break a rule that the
// publisher's Limits do not have.
func valid(p *place, from, to waybill.Message) error {
	outbox, err := waybill.New(waybill.Config{Dialect: p.dialect})
	if err != nil {
		return err
	}
	old := map[string]bool{}
	for _, f := range faultsOf(outbox.Validate(from)) {
		old[f.Field+f.Value+f.Rule] = true
	}
	var fresh []error
	for _, f := range faultsOf(outbox.Validate(to)) {
		if !old[f.Field+f.Value+f.Rule] {
			fresh = append(fresh, f)
		}
	}
	return errors.Join(fresh...)
}

func faultsOf(err error) (list []*waybill.FieldError) {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range all.Unwrap() {
			list = append(list, faultsOf(one)...)
		}
		return list
	}
	var f *waybill.FieldError
	if errors.As(err, &f) {
		list = append(list, f)
	}
	return list
}

// edited opens a body in the person's editor.
func edited(ctx context.Context, body []byte) ([]byte, error) {
	editor := os.Getenv("VISUAL")
	if editor == "" {
		editor = os.Getenv("EDITOR")
	}
	failed := func(what string, err error) error {
		return &fault.Error{Code: "WB4810", What: what, Why: err, Try: "--payload FILE", Exit: fault.Exit(err)}
	}
	words := strings.Fields(editor)
	if len(words) == 0 {
		return nil, failed("there is no editor: neither VISUAL nor EDITOR is set", nil)
	}
	dir, err := os.MkdirTemp("", "waybill-edit-")
	if err != nil {
		return nil, failed("make a folder for the body", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "body")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		return nil, failed("write the body for the editor", err)
	}
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], path)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, failed("the editor "+words[0], err)
	}
	left, err := os.ReadFile(path)
	if err != nil {
		return nil, failed("read what the editor left", err)
	}
	if body == nil && len(left) == 0 {
		return nil, nil // a tombstone stays one
	}
	return left, nil
}
