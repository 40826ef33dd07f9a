// Package doctor looks at what the promise needs from databases and brokers, and changes nothing in them.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybillhq/waybill/relay"
)

// Level is what a result means.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Warn    Level = "warn"    // it weakens the promise, or will be trouble
	Refuse  Level = "refuse"  // it breaks the promise, or the relay cannot work
	Unknown Level = "unknown" // the check could not be made
)

// Result is what one check found.
type Result struct {
	Level   Level  `json:"level"`
	Subject string `json:"subject"` // such as "source orders"
	Check   string `json:"check"`
	Code    string `json:"code,omitempty"`
	Text    string `json:"text"`
	Try     string `json:"try,omitempty"`

	Unreachable bool `json:"-"` // a database or broker did not answer
}

// Check is one thing to look at. Make returns what is fine in words, or the results that are not.
type Check struct {
	Name string
	Make func(ctx context.Context) (fine string, found []Result, err error)
}

// Run makes every check, each within patience and whatever becomes of the others. A check that says that nobody answers is the
// last: those behind it would only wait for the same.
func Run(ctx context.Context, subject string, patience time.Duration, checks []Check) (results []Result) {
	for i, c := range checks {
		fine, found, err := bounded(ctx, patience, c)
		if err != nil {
			found = append(found, Result{Level: Unknown, Code: "WB4708", Text: "this check could not be made: " + err.Error(), Try: "see why, and run waybill doctor again"})
		}
		if len(found) == 0 {
			found = []Result{{Level: OK, Text: fine}}
		}
		gone := false
		for _, f := range found {
			f.Subject, f.Check, f.Text = subject, c.Name, oneLine(f.Text)
			gone = gone || f.Unreachable
			results = append(results, f)
		}
		if rest := checks[i+1:]; gone && len(rest) > 0 {
			names := make([]string, len(rest))
			for j, r := range rest {
				names[j] = r.Name
			}
			return append(results, Result{Level: Unknown, Subject: subject, Check: "the rest", Code: "WB4708",
				Text: "these checks could not be made, because nobody answers: " + strings.Join(names, ", ")})
		}
	}
	return results
}

func bounded(ctx context.Context, patience time.Duration, c Check) (fine string, found []Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	fine, found, err = c.Make(ctx)
	if errors.Is(err, context.DeadlineExceeded) || err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v (%w)", patience, err)
	}
	return fine, found, err
}

// Findings are those of a sink as results.
func Findings(list []relay.Finding) (found []Result) {
	for _, f := range list {
		r := Result{Level: Warn}
		if f.Refuse {
			r.Level = Refuse
		}
		r.Code, r.Text, _ = strings.Cut(strings.TrimPrefix(f.Text, "waybill: "), " ") // as an error it would have that prefix
		r.Text, r.Try, _ = strings.Cut(r.Text, ". Try: ")
		found = append(found, r)
	}
	return found
}

func oneLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, " ")
}

// quoted lists words, at most a few.
func quoted(words []string) string {
	const few = 10
	rest := len(words) - few
	var parts []string
	for _, w := range words[:min(few, len(words))] {
		parts = append(parts, fmt.Sprintf("%q", w))
	}
	text := strings.Join(parts, ", ")
	if rest > 0 {
		text += fmt.Sprintf(" and %d more", rest)
	}
	return text
}
