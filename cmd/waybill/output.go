package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"text/tabwriter"
)

// print answers a read: v as JSON, or the rows as a table with a header.
func (a *app) print(v any, header []string, rows [][]string) error {
	var b bytes.Buffer
	if a.Output == "json" {
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(v); err != nil {
			return err
		}
	} else {
		b = table(header, rows)
	}
	_, err := a.out.Write(b.Bytes())
	return err
}

func table(header []string, rows [][]string) (b bytes.Buffer) {
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		if row != nil {
			w.Write([]byte(strings.Join(row, "\t") + "\n")) // to memory
		}
	}
	w.Flush()
	return b
}
