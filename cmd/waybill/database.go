package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/cmd/waybill/internal/redact"
	"github.com/waybillhq/waybill/dialect"
)

// address is the URL of a source, understood.
type address struct {
	dialect dialect.Dialect
	url     string // for PostgreSQL
	file    string // for SQLite
}

var sqliteFile = regexp.MustCompile(`\.(db|sqlite|sqlite3)$`)

func parseSource(text string) (address, error) {
	scheme, rest, _ := strings.Cut(text, ":")
	switch {
	case scheme == "postgres" || scheme == "postgresql":
		secure, err := withTLS(text)
		return address{dialect: dialect.Postgres, url: secure}, err
	case scheme == "sqlite":
		rest = strings.TrimPrefix(rest, "//")
	case sqliteFile.MatchString(text) && !strings.Contains(text, "://"):
		rest = text
	default:
		return address{}, fmt.Errorf("no source reads such a URL, want postgres://, sqlite:FILE or a file that ends in .db, .sqlite or .sqlite3")
	}
	if rest == "" || strings.ContainsAny(rest, "?#") {
		return address{}, fmt.Errorf("want sqlite:FILE, without options")
	}
	return address{dialect: dialect.SQLite, file: rest}, nil
}

// errURL stands for what url.Parse says, which holds the password.
var errURL = errors.New("not a URL; characters such as @ : / # ? in a password must be percent-encoded")

// withTLS asks for a checked certificate where the connection leaves the machine and nobody said otherwise.
func withTLS(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", errURL
	}
	// url.Parse splits at the last @, the driver at the first: what it takes for the host would hold half of the password.
	if _, rest, _ := strings.Cut(text, "://"); strings.Count(rest[:strings.IndexAny(rest+"/", "/?#")], "@") > 1 {
		return "", errURL
	}
	q := u.Query()
	host := u.Hostname()
	if host == "" {
		host = q.Get("host")
	}
	ip := net.ParseIP(host)
	local := host == "" || host == "localhost" || strings.HasPrefix(host, "/") || ip != nil && ip.IsLoopback()
	if q.Has("sslmode") || os.Getenv("PGSSLMODE") != "" || local {
		return text, nil
	}
	q.Set("sslmode", "verify-full")
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// unprepared prepares no statements: a pooler that gives each transaction another session may stand between.
func unprepared(cfg *pgx.ConnConfig) { cfg.DefaultQueryExecMode = pgx.QueryExecModeExec }

// open returns a handle that connects when it is used. A missing SQLite file is an error unless create is set.
func (a address) open(create bool, options ...func(*pgx.ConnConfig)) (*sql.DB, error) {
	if a.dialect == dialect.SQLite {
		mode := "rw"
		if create {
			mode = "rwc"
		}
		options := url.Values{"mode": {mode}, "_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"}, "_txlock": {"immediate"}}
		return sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: a.file}).EscapedPath(), RawQuery: options.Encode()}).String())
	}
	cfg, err := pgx.ParseConfig(a.url)
	if err != nil {
		return nil, err
	}
	for _, set := range options {
		set(cfg)
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "waybill"
	}
	return stdlib.OpenDB(*cfg), nil
}

// database opens the source that a command is about, and sees whether it answers.
func (a *app) database(ctx context.Context, source config.Source, create bool) (*sql.DB, address, error) {
	addr, err := parseSource(source.URL.Reveal())
	if err != nil {
		return nil, addr, &fault.Error{Code: "WB4509", What: "the source's URL " + source.URL.String(), Why: err, Exit: fault.Usage}
	}
	db, err := addr.open(create)
	if err != nil {
		return nil, addr, &fault.Error{Code: "WB4509", What: "the source's URL " + source.URL.String(), Why: err, Exit: fault.Usage}
	}
	if err := addr.ping(ctx, db, source); err != nil {
		db.Close()
		return nil, addr, err
	}
	return db, addr, nil
}

// ping sees whether the source answers.
func (a address) ping(ctx context.Context, db *sql.DB, source config.Source) error {
	err := db.PingContext(ctx)
	if err == nil {
		return nil
	}
	try := "waybill config show, to see where the URL comes from"
	if a.dialect == dialect.SQLite {
		try = "waybill migrate up, which makes the file"
	} else if strings.Contains(a.url, "verify-full") && !strings.Contains(source.URL.Reveal(), "sslmode") {
		try = "sslmode=disable in the URL, if plain text is meant; without it a server elsewhere must show a certificate"
	}
	return &fault.Error{Code: "WB4603", What: "the database does not answer", Where: source.URL.String(), Why: err, Try: try, Exit: fault.Unreachable}
}

// sourceFlag names the source of a command that works on one.
type sourceFlag struct {
	Source string `placeholder:"NAME|URL" help:"Which source: a name in the configuration, or a URL. Defaults to the only one there is."`
}

func (f sourceFlag) pick(a *app) (name string, s config.Source, err error) {
	cfg, err := a.load(nil)
	if err != nil {
		return "", s, err
	}
	if _, err := parseSource(f.Source); err == nil {
		s = config.Source{URL: redact.NewSecret(f.Source), Mode: "cursor"}
		a.redactor.Learn(s.URL)
		return "default", s, nil
	}
	names := slices.Sorted(maps.Keys(cfg.Sources))
	switch {
	case f.Source == "" && len(names) == 1:
		return names[0], cfg.Sources[names[0]], nil
	case f.Source == "" && len(names) == 0:
		return "", s, &fault.Error{Code: "WB4604", What: "no source is configured", Try: "WAYBILL_SOURCE=postgres://..., or waybill init", Exit: fault.Usage}
	case f.Source == "":
		return "", s, &fault.Error{Code: "WB4604", What: "there are several sources: " + strings.Join(names, ", "), Try: "--source " + names[0], Exit: fault.Usage}
	}
	if s, ok := cfg.Sources[f.Source]; ok {
		return f.Source, s, nil
	}
	return "", s, &fault.Error{Code: "WB4604", What: fmt.Sprintf("there is no source %q, only: %s", f.Source, strings.Join(names, ", ")), Exit: fault.Usage}
}
