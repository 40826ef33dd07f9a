package sqlstore

import (
	"context"
	"database/sql"
	"strings"
)

// database is what differs between databases. The SQL of statements.go is written in its words.
type database struct {
	// words are pairs for a strings.Replacer: {t} is the prefix of every table, {now} the clock, {ms} the clock in unix
	// milliseconds, {past} a moment long ago, {us} turns a number of microseconds into a span, {left} is the microseconds until
	// expires_at, {among} holds for a pos of list $2, {sync}$n{/sync} is true and makes the commit durable when $n is 'on', not when it is 'off'.
	// {cursors} defines s, the cursors of outboxes that have no flag, {behind} tells whether row t is behind one of them, and
	// {every} whether that holds for all; NULL when there are none. {taken} tells whether row t's topic is one that a relay publishes.
	words []string
	// mark stands before the number of a placeholder.
	mark string
	// chunk is how many rows one statement of retention goes over, retaining the settings for its transaction.
	chunk     int
	retaining string
	// list writes the argument of {among}.
	list func(positions []int64) string
	// timestamp turns microseconds since the Unix epoch into an argument.
	timestamp func(unixMicro int64) any
	// transaction runs f in one transaction, statement runs f with one statement that commits by itself. Both keep ready the
	// durability that {sync} asks for.
	transaction, statement func(ctx context.Context, conn *sql.Conn, durable bool, f func(Querier) error) error
}

func (d *database) sql(template string) string {
	return strings.NewReplacer(append([]string{"$", d.mark}, d.words...)...).Replace(template)
}

// sync is the argument of {sync}.
func sync(durable bool) string {
	if durable {
		return "on"
	}
	return "off"
}
