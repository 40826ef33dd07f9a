package main

import "github.com/waybillhq/waybill/cmd/waybill/internal/config"

func checkURL(kind, name string, c *config.Config) error { return nil }
