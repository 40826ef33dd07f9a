package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/cmd/waybill/internal/logpipe"
	"github.com/waybillhq/waybill/cmd/waybill/internal/redact"
)

// commands is the command line. Each command lives in a file of its name.
type commands struct {
	globals

	Demo    demoCmd    `cmd:"" help:"Show what a double write loses under faults and Waybill does not. Needs nothing installed."`
	Init    initCmd    `cmd:"" help:"Write waybill.yaml and the migration, and print the Go lines to paste."`
	Migrate migrateCmd `cmd:"" help:"Create or check Waybill's tables."`
	Run     runCmd     `cmd:"" help:"Relay: run every relay of the configuration until SIGTERM."`
	Send    sendCmd    `cmd:"" help:"Publish one message through the outbox; the body comes from standard input or --data."`
	Parked  parkedCmd  `cmd:"" help:"List, show, retry, edit and discard messages that are set aside."`
	Status  statusCmd  `cmd:"" help:"Show every relay: owner, lag, messages set aside."`
	Doctor  doctorCmd  `cmd:"" help:"Check databases, brokers and their settings, and say how to repair what is wrong. Changes nothing."`
	Conf    configCmd  `cmd:"" name:"config" help:"Check or show the configuration."`
	Version versionCmd `cmd:"" help:"Print the version."`
	Help    helpCmd    `cmd:"" help:"Explain waybill, or one command."`
}

// globals are the flags of every command.
type globals struct {
	File    string        `name:"config" short:"c" env:"WAYBILL_CONFIG" placeholder:"FILE" help:"Configuration. Defaults to waybill.yaml if it exists."`
	Output  string        `short:"o" enum:"table,json" default:"table" placeholder:"table|json" help:"What reads print. Defaults to table."`
	Timeout time.Duration `default:"10s" help:"How long a command waits for a database or broker; run and demo wait for ever."`
	Verbose bool          `short:"v" help:"Log details too."`
	Quiet   bool          `short:"q" help:"Log errors only."`
}

// app is what every command works with. All text goes through the redactor.
type app struct {
	globals
	redactor redact.Redactor
	in       io.Reader
	out, err io.Writer
	stdout   *os.File // only to ask whether it is a terminal
	log      *slog.Logger
	env      []string
	kong     *kong.Kong
}

// Main runs one command line and returns the number to end with.
func Main(args []string, in io.Reader, out, errs *os.File) int {
	a := &app{in: in, stdout: out, env: os.Environ()}
	log := logpipe.New(errs)
	defer log.Close(time.Second)
	a.out, a.err = a.redactor.Writer(out), a.redactor.Writer(log)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once; not one within a second, because timeout(1) and some supervisors send each
	// signal twice, to the process and to its group.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })

	err := a.run(ctx, args, isTerminal(errs))
	if err != nil {
		if code := fault.Exit(err); code == fault.Interrupted {
			return code
		}
		// The libraries write the way out into the line; here it gets one of its own.
		fmt.Fprintln(a.err, strings.ReplaceAll(err.Error(), ". Try: ", "\nTry: "))
	}
	return fault.Exit(err)
}

// exited is how kong's help, which ends the process, comes back.
type exited int

func (a *app) run(ctx context.Context, args []string, terminal bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exited); !ok {
				panic(r)
			}
		}
	}()
	var line commands
	a.kong, err = kong.New(&line, kong.Name("waybill"), kong.Description(
		"Publishes messages to a broker (NATS JetStream, Kafka, RabbitMQ) exactly when the database transaction that wrote them commits.\n\nErrors have a code; docs/errors.md explains each."),
		kong.Writers(a.out, a.err), kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}), kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(a))
	if err != nil {
		return err
	}
	parsed, err := a.kong.Parse(args)
	if err != nil {
		return usage(err)
	}
	a.globals = line.globals
	a.log = a.logger(terminal)
	err = parsed.Run()
	if errors.Is(err, context.DeadlineExceeded) {
		return &fault.Error{Code: "WB4602", What: fmt.Sprintf("gave up after --timeout %v", a.Timeout), Why: err, Try: "a longer --timeout, or waybill config show to see which server is asked", Exit: fault.Unreachable}
	}
	return err
}

// usage is what kong says about a command line, with the help of the command that was meant.
func usage(err error) error {
	try := "waybill help"
	var e *kong.ParseError
	if errors.As(err, &e) && e.Context != nil && e.Context.Command() != "" {
		try += " " + e.Context.Command()
	}
	return &fault.Error{Code: "WB4601", What: "the command line is wrong", Why: err, Try: try, Exit: fault.Usage}
}

// logger writes text for people and JSON for collectors, to standard error.
func (a *app) logger(terminal bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	switch {
	case a.Verbose:
		options.Level = slog.LevelDebug
	case a.Quiet:
		options.Level = slog.LevelError
	}
	if terminal {
		return slog.New(slog.NewTextHandler(a.err, options))
	}
	return slog.New(slog.NewJSONHandler(a.err, options))
}

// load reads the configuration. flags are values given on the command line, by path.
func (a *app) load(flags map[string]string) (*config.Config, error) {
	cfg, err := config.Load(config.Input{File: a.File, Env: a.env, Flags: flags, Check: checkOpens})
	if cfg == nil {
		return nil, err
	}
	a.redactor.Learn(cfg.Secrets()...)
	return cfg, err
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
