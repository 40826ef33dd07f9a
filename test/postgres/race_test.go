//go:build race

package postgres

func init() { race = true }
