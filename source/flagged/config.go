package flagged

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybillhq/waybill/dialect"
)

// Config says which table is the outbox and how to read it. The zero value fits the table that
// `waybill migrate up --flagged` makes.
type Config struct {
	// Columns names the columns of Table.
	Columns Columns
	// PollMax is the pause between looks at an idle table. Defaults to 1 s.
	PollMax time.Duration
	// PollMin is the pause while messages come. A look that takes longer than PollMin is repeated after 20 times its own
	// time. Defaults to 2 ms.
	PollMin time.Duration
	// Table is the outbox, as table or schema.table, on SQLite without a schema. Defaults to waybill.outbox_flagged, on SQLite
	// waybill_outbox_flagged.
	Table string
	// Topic, when set, is every message's topic, in place of a column. Defaults to none.
	Topic string
	// Type, when set, is every message's type, in place of a column. Defaults to none.
	Type string
}

// None stands for a column that the table does not have.
const None = "-"

// Columns are names of columns. Those that say so may be None.
type Columns struct {
	// ContentType may be None. Defaults to content_type.
	ContentType string
	// CreatedAt is the time of a message without one, a timestamp (SQLite: microseconds since the Unix epoch). May be None.
	// Defaults to created_at.
	CreatedAt string
	// Headers holds a JSON array of pairs. May be None. Defaults to headers.
	Headers string
	// ID of any type becomes the message's ID as text. Defaults to id.
	ID string
	// IsPublished is a boolean that is never null, false at first. Defaults to is_published.
	IsPublished string
	// Key may be None. Defaults to key.
	Key string
	// Payload holds bytes, text or JSON. Defaults to payload.
	Payload string
	// Pos is a unique integer above 0 that grows, drawn inside the transaction: a publisher who follows another's commit
	// must draw a greater one. Defaults to pos.
	Pos string
	// Time may be None. Defaults to time.
	Time string
	// Topic is not read when Config.Topic is set. Defaults to topic.
	Topic string
	// Type is not read when Config.Type is set. Defaults to type.
	Type string
}

// withDefaults returns cfg complete, with every identifier quoted; a column that is None is empty.
func (cfg Config) withDefaults(d dialect.Dialect, table string) (Config, error) {
	var faults []error
	if cfg.PollMin == 0 {
		cfg.PollMin = 2 * time.Millisecond
	}
	if cfg.PollMax == 0 {
		cfg.PollMax = max(time.Second, cfg.PollMin)
	}
	if cfg.PollMin < 0 || cfg.PollMax < cfg.PollMin {
		faults = append(faults, fmt.Errorf("waybill: WB4212 PollMin is %v and PollMax %v: must be positive, and PollMax the greater", cfg.PollMin, cfg.PollMax))
	}
	if cfg.Table != "" {
		table = cfg.Table
	}
	var err error
	if cfg.Table, err = d.Quote(table); err != nil {
		faults = append(faults, err)
	} else if d.Name() == dialect.SQLite.Name() && strings.Contains(table, ".") { // another file, which the flush would leave as it is
		faults = append(faults, fmt.Errorf("waybill: WB4213 Table is %q: an attached database cannot be read. Try: open that file itself", table))
	}
	column := func(field string, name *string, standard string, optional bool) {
		if *name == "" {
			*name = standard
		}
		if *name == None && optional {
			*name = ""
			return
		}
		quoted, err := d.Quote(*name)
		if err == nil && strings.Contains(*name, ".") {
			err = fmt.Errorf("waybill: WB4214 the name %q has a dot", *name)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("Columns.%s: %w", field, err))
		}
		*name = quoted
	}
	c := &cfg.Columns
	column("ContentType", &c.ContentType, "content_type", true)
	column("CreatedAt", &c.CreatedAt, "created_at", true)
	column("Headers", &c.Headers, "headers", true)
	column("ID", &c.ID, "id", false)
	column("IsPublished", &c.IsPublished, "is_published", false)
	column("Key", &c.Key, "key", true)
	column("Payload", &c.Payload, "payload", false)
	column("Pos", &c.Pos, "pos", false)
	column("Time", &c.Time, "time", true)
	column("Topic", &c.Topic, "topic", cfg.Topic != "")
	column("Type", &c.Type, "type", cfg.Type != "")
	return cfg, errors.Join(faults...)
}
