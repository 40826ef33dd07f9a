// Package snippet holds the lines that waybill init prints. They are the bodies of functions here, so that they compile.
package snippet

import (
	"embed"
	"strings"
)

//go:embed pgx.go sql.go sqlite.go
var files embed.FS

var _, _, _ = publishPgx, publishSQL, publishSQLite // compiled, never called

// Imports are the packages of ours that the lines need.
var Imports = []string{"github.com/waybillhq/waybill", "github.com/waybillhq/waybill/dialect"}

// For returns the lines for a driver: pgx, sql or sqlite.
func For(driver string) string {
	text, err := files.ReadFile(driver + ".go")
	if err != nil {
		panic(err) // the command line allows no other
	}
	_, body, _ := strings.Cut(string(text), "error {\n")
	body, _, _ = strings.Cut(body, "\n}\n")
	var b strings.Builder
	for line := range strings.SplitSeq(body, "\n") {
		b.WriteString(strings.TrimPrefix(line, "\t") + "\n")
	}
	return b.String()
}
