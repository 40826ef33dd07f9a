package doctor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/waybillhq/waybill/relay"
)

func TestEveryCheckIsMadeWhateverBecomesOfTheOthers(t *testing.T) {
	t.Parallel()
	fine := func(context.Context) (string, []Result, error) { return "fine", nil, nil }
	fails := func(context.Context) (string, []Result, error) { return "", nil, errors.New("no right") }
	hangs := func(ctx context.Context) (string, []Result, error) { <-ctx.Done(); return "", nil, ctx.Err() }
	gone := func(context.Context) (string, []Result, error) {
		return "", []Result{{Level: Unknown, Text: "nobody\n  there", Unreachable: true}}, nil
	}
	results := Run(t.Context(), "source a", 50*time.Millisecond, []Check{{"one", fails}, {"two", hangs}, {"three", fine}, {"four", gone}, {"five", fine}, {"six", fine}})
	var text strings.Builder
	for _, r := range results {
		text.WriteString(string(r.Level) + " " + r.Subject + " " + r.Check + ": " + r.Text + "\n")
	}
	if got, want := text.String(), `unknown source a one: this check could not be made: no right
unknown source a two: this check could not be made: no answer within 50ms (context deadline exceeded)
ok source a three: fine
unknown source a four: nobody there
unknown source a the rest: these checks could not be made, because nobody answers: five, six
`; got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func TestAFindingOfASinkIsAResult(t *testing.T) {
	t.Parallel()
	got := Findings([]relay.Finding{{Refuse: true, Text: "WB2203 jetstream: in memory. Try: a file"}, {Text: "waybill: WB2206 jetstream: old"}})
	if len(got) != 2 || got[0] != (Result{Level: Refuse, Code: "WB2203", Text: "jetstream: in memory", Try: "a file"}) || got[1] != (Result{Level: Warn, Code: "WB2206", Text: "jetstream: old"}) {
		t.Errorf("got %+v", got)
	}
}
