package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/dialect"
)

type sendCmd struct {
	sourceFlag
	Topic       string   `required:"" help:"Destination name at the broker."`
	Key         string   `help:"Ordering key. Defaults to none."`
	Type        string   `required:"" help:"What the message is, such as order.created."`
	Header      []string `sep:"none" placeholder:"NAME=VALUE" help:"One header; may be given several times."`
	ContentType string   `help:"Of the body, such as application/json."`
	Data        *string  `help:"The body. Defaults to standard input."`
}

func (c sendCmd) Run(ctx context.Context, a *app) error {
	m := waybill.Message{Topic: c.Topic, Key: c.Key, Type: c.Type, ContentType: c.ContentType}
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, "=")
		if !ok {
			return &fault.Error{Code: "WB4601", What: fmt.Sprintf("--header %q is not NAME=VALUE", h), Exit: fault.Usage}
		}
		m.Headers = append(m.Headers, waybill.Header{Name: name, Value: value})
	}
	_, source, err := c.pick(a)
	if err != nil {
		return err
	}
	if source.Columns != (config.Columns{}) || source.Topic+source.Type != "" {
		return &fault.Error{Code: "WB4608", What: "the source's table has columns of your own, which waybill send cannot fill", Try: "an INSERT of yours", Exit: fault.Usage}
	}
	if c.Data == nil {
		a.log.Debug("reading the body from standard input")
	}
	if c.Data != nil {
		m.Payload = []byte(*c.Data)
	} else if m.Payload, err = readAll(ctx, a.in); err != nil {
		return &fault.Error{Code: "WB4609", What: "read the body from standard input", Why: err, Exit: fault.Exit(err)}
	}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	db, addr, err := a.database(ctx, source, false)
	if err != nil {
		return err
	}
	defer db.Close()
	cfg := waybill.Config{Dialect: addr.dialect, Table: source.Table}
	if source.Mode == "flagged" && source.Table == "" {
		cfg.Table = flaggedTable(addr.dialect)
	}
	outbox, err := waybill.New(cfg)
	if err != nil {
		return err
	}
	m.ID = newID(time.Now())
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := outbox.Publish(ctx, waybill.SQL(tx), m); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return a.print(map[string]string{"id": m.ID}, nil, [][]string{{m.ID}})
}

// readAll reads to the end, unless ctx ends first: nobody else can wake a read from a terminal.
func readAll(ctx context.Context, r io.Reader) ([]byte, error) {
	type result struct {
		body []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		body, err := io.ReadAll(r)
		done <- result{body, err}
	}()
	select {
	case r := <-done:
		return r.body, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// newID makes a UUIDv7, so that it can be printed: Publish keeps those it makes to itself.
func newID(now time.Time) string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16|uint64(b[6])<<8|uint64(b[7]))
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func flaggedTable(d dialect.Dialect) string {
	if d == dialect.SQLite {
		return "waybill_outbox_flagged"
	}
	return "waybill.outbox_flagged"
}
