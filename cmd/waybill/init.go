package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/cmd/waybill/internal/snippet"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/schema"
)

// migrationFile is where init puts the SQL.
const migrationFile = "waybill.sql"

type initCmd struct {
	Driver string `enum:"pgx,sql,sqlite," default:"" placeholder:"pgx|sql|sqlite" help:"Of the lines to paste; sql is database/sql with PostgreSQL. Defaults to what go.mod in this folder requires, else pgx."`
	Sink   string `enum:"nats,kafka,rabbitmq" default:"nats" placeholder:"nats|kafka|rabbitmq" help:"Which broker the configuration names. Defaults to nats."`
	Dir    string `default:"." placeholder:"FOLDER" help:"Where to write. Defaults to here."`
	Yes    bool   `help:"Overwrite files that are there."`
}

func (c initCmd) Run(a *app) error {
	driver := c.Driver
	if driver == "" {
		driver = detectDriver(filepath.Join(c.Dir, "go.mod"))
	}
	var d dialect.Dialect = dialect.Postgres
	source := "url: ${env:DATABASE_URL}      # postgres://user@host:5432/database"
	sink := sinkTemplates[c.Sink]
	if driver == "sqlite" {
		d, source = dialect.SQLite, "url: sqlite:app.db"
	}
	sql, err := schema.Print(d)
	if err != nil {
		return err
	}
	files := []struct{ name, text string }{
		{config.DefaultFile, strings.NewReplacer("SOURCE", source, "SINK", sink).Replace(configTemplate)},
		{migrationFile, sql},
	}
	for _, f := range files {
		path := filepath.Join(c.Dir, f.name)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) && !c.Yes {
			return &fault.Error{Code: "WB4612", What: path + " is there already, nothing was written", Try: "--yes to overwrite, or --dir with another folder", Exit: fault.Refused}
		}
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return &fault.Error{Code: "WB4613", What: "make the folder " + c.Dir, Why: err}
	}
	var written []string
	for _, f := range files {
		path := filepath.Join(c.Dir, f.name)
		if err := os.WriteFile(path, []byte(f.text), 0o644); err != nil {
			return &fault.Error{Code: "WB4613", What: "write " + path, Why: err}
		}
		written = append(written, path)
	}
	lines := snippet.For(driver)
	if a.Output == "json" {
		return a.print(map[string]any{"driver": driver, "written": written, "imports": snippet.Imports, "snippet": lines}, nil, nil)
	}
	fmt.Fprintf(a.err, "wrote %s\n\nPaste into your service, which imports %s:\n\n", strings.Join(written, " and "), strings.Join(snippet.Imports, " and "))
	fmt.Fprint(a.out, lines)
	then := "waybill migrate up && waybill doctor && waybill run"
	if c.Sink == "rabbitmq" {
		then = "export AMQP_URL=amqp://... && " + then
	}
	if driver != "sqlite" {
		then = "export DATABASE_URL=postgres://... && " + then
	}
	fmt.Fprintf(a.err, "\nThen: %s\n", then)
	return nil
}

func detectDriver(goMod string) string {
	text, _ := os.ReadFile(goMod) // without one the default is right
	for _, known := range []struct{ module, driver string }{
		{"github.com/jackc/pgx/", "pgx"}, {"github.com/lib/pq", "sql"},
		{"modernc.org/sqlite", "sqlite"}, {"github.com/mattn/go-sqlite3", "sqlite"}, {"github.com/ncruces/go-sqlite3", "sqlite"},
	} {
		if strings.Contains(string(text), known.module) {
			return known.driver
		}
	}
	return "pgx"
}

const configTemplate = `# docs/configuration.md explains every key. Check with: waybill config check
sources:
  orders:
    SOURCE

sinks:
  main:
    SINK

relays:
  orders-main:
    source: orders
    sink: main
    on_rejected: hold            # hold, park or stop
    # topics: ["orders.*"]       # of several relays over one source, each takes its topics; without it, all
`

var sinkTemplates = map[string]string{
	"nats": `url: nats://localhost:4222   # with JetStream; or, without a server: "nats:embedded?dir=nats"
    create: true                 # make the stream if it is missing
    stream: orders
    subjects: [orders, "orders.>"]`,
	"kafka": `url: kafka://localhost:9092  # kafka+tls:// over TLS; several brokers with commas
    create: true                 # make a topic that is missing
    # fencing: true              # brokers refuse an old owner that wakes up; needs relay names of one's own in the cluster`,
	"rabbitmq": `url: ${env:AMQP_URL}         # amqp://user:password@host:5672/vhost, amqps:// over TLS
    create: true                 # make the queue of a topic that has none
    # management_url: http://host:15672   # for waybill doctor, to look at the queues`,
}
