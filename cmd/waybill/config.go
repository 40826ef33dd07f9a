package main

import (
	"fmt"
	"log/slog"

	"github.com/waybillhq/waybill/cmd/waybill/internal/config"
	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/relay"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Read the configuration and report every fault in it. Connects to nothing."`
	Show  configShowCmd  `cmd:"" help:"Print every value in force and where it comes from, without secrets."`
}

type configCheckCmd struct{}

func (configCheckCmd) Run(a *app) error {
	cfg, err := a.load(nil)
	if err != nil {
		return err
	}
	v := struct {
		OK       bool     `json:"ok"`
		File     string   `json:"file,omitempty"`
		Sources  int      `json:"sources"`
		Sinks    int      `json:"sinks"`
		Relays   int      `json:"relays"`
		Warnings []string `json:"warnings"`
	}{true, cfg.File, len(cfg.Sources), len(cfg.Sinks), len(cfg.Relays), append([]string{}, cfg.Warnings...)}
	rows := [][]string{{fmt.Sprintf("ok    %d sources, %d sinks, %d relays", v.Sources, v.Sinks, v.Relays)}}
	for _, w := range cfg.Warnings {
		rows = append(rows, []string{"warn  " + w})
	}
	return a.print(v, nil, rows)
}

type configShowCmd struct{}

func (configShowCmd) Run(a *app) error {
	cfg, err := a.load(nil)
	if err != nil {
		return err
	}
	entries := cfg.Entries()
	var rows [][]string
	for _, e := range entries {
		rows = append(rows, []string{e.Key, e.Value, e.Origin})
	}
	return a.print(append([]config.Entry{}, entries...), []string{"KEY", "VALUE", "ORIGIN"}, rows)
}

// checkOpens finds what only the source or sink itself can tell, by making it and throwing it away: that connects to nothing.
func checkOpens(kind, name string, c *config.Config) error {
	var err error
	path := kind + "s." + name + ".url"
	if c.Origin(path) == "default" {
		return nil // it is missing, and reported
	}
	if kind == "source" {
		var src source
		if src, err = openSource(c.Sources[name], slog.New(slog.DiscardHandler)); err == nil {
			err = src.Close()
		}
	} else {
		var sink relay.Sink
		if sink, err = openSink(c.Sinks[name], sinkUse{relay: "check", uri: "/waybill/check"}); err == nil && sink != nil {
			err = sink.Close()
		}
	}
	if err == nil {
		return nil
	}
	return &fault.Error{Code: "WB4509", Where: c.Origin(path), What: path, Why: err, Exit: fault.Usage}
}
