package waybill

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/waybillhq/waybill/dialect"
)

// Config says how an Outbox publishes. Dialect is required.
type Config struct {
	// Dialect is the database: dialect.Postgres or dialect.SQLite.
	Dialect dialect.Dialect
	// KeyLock makes publishers of one key wait for each other until they commit, so that messages of overlapping
	// transactions get an order too. Costs them their concurrency; on SQLite, which has one writer, it changes nothing.
	// Publish all keyed messages of a transaction in one call, or two transactions may wait for each other. Defaults to off.
	KeyLock bool
	// Limits bound what a message may be. Defaults to what every broker accepts; see each field.
	Limits Limits
	// Table is the outbox, as table or schema.table. Defaults to waybill.outbox, on SQLite waybill_outbox.
	Table string
	// Topics lists the topics that exist, so that a misspelt one fails inside Publish. Defaults to any.
	Topics []string
	// Tracer makes the creation span of each message that Publish writes. Module telemetry has one. Defaults to none.
	Tracer Tracer
	// Wake is called after each successful Publish, before the caller commits; give it the Wake of a relay in the same
	// process. Defaults to none.
	Wake func()
}

// Tracer lets a message carry the trace that it belongs to.
type Tracer interface {
	// Create is called for each message before it is written, m.ID set, and may append to m.Headers what carries the trace
	// across; a message that brings a trace context of its own keeps it. end is called once, with the outcome of Publish.
	Create(ctx context.Context, m *Message) (end func(err error))
}

// Outbox writes messages. It holds no connection and starts nothing; any number of goroutines may use it.
type Outbox struct {
	cfg    Config
	insert func([]dialect.Row) (query string, args []any)
	ids    idMaker
}

// New checks cfg. It does no input or output.
func New(cfg Config) (*Outbox, error) {
	if cfg.Dialect == nil {
		return nil, errors.New("waybill: WB4001 Config.Dialect is required. Try: dialect.Postgres or dialect.SQLite")
	}
	table, errTable := cfg.Dialect.Quote(cfg.Table)
	limits, errLimits := cfg.Limits.withDefaults()
	if err := errors.Join(errTable, errLimits); err != nil {
		return nil, err
	}
	cfg.Limits, cfg.Topics = limits, slices.Clone(cfg.Topics)
	return &Outbox{cfg: cfg, insert: cfg.Dialect.Insert(table, cfg.KeyLock)}, nil
}

// Publish writes msgs inside tx: they reach the broker, in this order within each key, when tx commits, and never when it
// rolls back. All faults of all messages are returned together, before anything is written, each a [*FieldError].
// After an error of the database the transaction must be rolled back. No messages are no statement and no error.
func (o *Outbox) Publish(ctx context.Context, tx Tx, msgs ...Message) (err error) {
	if len(msgs) == 0 {
		return nil
	}
	if tx == nil {
		return ErrNoTx
	}
	if o.cfg.Tracer != nil {
		var end func(error)
		msgs, end = o.trace(ctx, msgs)
		defer func() { end(err) }()
	}
	query, args, err := o.Statement(msgs...)
	if err != nil {
		return err
	}
	if err := tx.exec(ctx, query, args); errors.Is(err, ErrNoTx) {
		return err
	} else if err != nil {
		return o.failed(err)
	}
	if o.cfg.Wake != nil {
		o.cfg.Wake()
	}
	return nil
}

// Statement returns what Publish would execute, for callers who send it together with statements of their own, in one
// round trip. Execute it inside their transaction. The text depends on nothing but whether there is one message or more,
// so that a driver prepares two at most.
// The arguments may refer to the payloads. Neither Tracer nor Wake is called. Without messages all results are zero.
func (o *Outbox) Statement(msgs ...Message) (query string, args []any, err error) {
	if len(msgs) == 0 {
		return "", nil, nil
	}
	if err := o.Validate(msgs...); err != nil {
		return "", nil, err
	}
	rows := make([]dialect.Row, len(msgs))
	for i, m := range msgs {
		if m.ID == "" {
			m.ID = o.ids.next()
		}
		rows[i] = dialect.Row{
			ID: m.ID, Topic: m.Topic, Key: m.Key, Type: m.Type, ContentType: m.ContentType,
			Headers: EncodeHeaders(m.Headers), Payload: m.Payload, Time: m.Time,
		}
	}
	query, args = o.insert(rows)
	return query, args, nil
}

func (o *Outbox) failed(err error) error {
	if hint := o.cfg.Dialect.Hint(err); hint != "" {
		return fmt.Errorf("waybill: WB3002 write to the outbox: %w. Try: %s", err, hint)
	}
	return fmt.Errorf("waybill: WB3002 write to the outbox: %w", err)
}

// trace returns copies: the caller's messages are never changed.
func (o *Outbox) trace(ctx context.Context, msgs []Message) (traced []Message, end func(error)) {
	traced = slices.Clone(msgs)
	ends := make([]func(error), len(traced))
	for i := range traced {
		m := &traced[i]
		if m.ID == "" {
			m.ID = o.ids.next()
		}
		m.Headers = slices.Clip(m.Headers)
		ends[i] = o.cfg.Tracer.Create(ctx, m)
	}
	return traced, func(err error) {
		for _, end := range ends {
			end(err)
		}
	}
}
