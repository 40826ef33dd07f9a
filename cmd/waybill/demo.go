package main

import (
	"context"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/demo"
)

type demoCmd struct {
	For time.Duration `placeholder:"10s" help:"How long the load and the faults last; exit 1 when Waybill broke its promise. Defaults to until Ctrl-C."`
}

func (c demoCmd) Run(ctx context.Context, a *app) error {
	return demo.Run(ctx, demo.Options{For: c.For, JSON: a.Output == "json", Out: a.out, Terminal: isTerminal(a.stdout)})
}
