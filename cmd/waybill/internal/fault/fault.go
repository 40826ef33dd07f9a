// Package fault is how the command says that something went wrong: what, where, why, what to try, a stable code, and the
// number the process ends with.
package fault

import (
	"context"
	"errors"
	"strings"
)

// The numbers the process ends with. docs/cli.md explains them.
const (
	OK          = 0
	Failed      = 1
	Usage       = 2 // wrong usage or invalid configuration
	Unreachable = 3 // a database or broker does not answer
	Problems    = 4 // the command worked and found problems
	Refused     = 5 // it would destroy something and --yes was not given
	Interrupted = 130
)

// Error is one thing that went wrong.
type Error struct {
	Code  string // WBnnnn
	What  string
	Where string // file:line, the name of a source, ...; may be empty
	Why   error  // may be nil
	Try   string // one command or one change; may be empty
	Exit  int    // Defaults to Failed
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("waybill: " + e.Code + " ")
	if e.Where != "" {
		b.WriteString(e.Where + ": ")
	}
	b.WriteString(e.What)
	if e.Why != nil {
		b.WriteString(": " + e.Why.Error())
	}
	if e.Try != "" {
		b.WriteString("\nTry: " + e.Try)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Why }

// List is several errors found together. Its text has one line an error and the first `Try:` of each kind.
type List []*Error

func (l List) Error() string {
	var lines, try []string
	seen := map[string]bool{}
	for _, e := range l {
		text, _, _ := strings.Cut(e.Error(), "\nTry: ")
		lines = append(lines, text)
		if e.Try != "" && !seen[e.Try] {
			seen[e.Try] = true
			try = append(try, "Try: "+e.Try)
		}
	}
	return strings.Join(append(lines, try...), "\n")
}

// Err is l as an error, nil when there is nothing in it.
func (l List) Err() error {
	switch len(l) {
	case 0:
		return nil
	case 1:
		return l[0]
	}
	return l
}

// Exit is the number to end with for err.
func Exit(err error) int {
	var one *Error
	var list List
	switch {
	case err == nil:
		return OK
	case errors.As(err, &list):
		return Usage
	case errors.As(err, &one) && one.Exit != 0:
		return one.Exit
	case errors.Is(err, context.Canceled):
		return Interrupted
	}
	return Failed
}
