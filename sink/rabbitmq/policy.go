package rabbitmq

import (
	"context"
	"maps"
	"regexp"
	"slices"
)

// policy is one of the virtual host. The server tells what applies to a queue too, but seconds late, and of an idle quorum
// queue never; so we work it out.
//
// https://www.rabbitmq.com/docs/parameters#policies
type policy struct {
	Pattern    string   `json:"pattern"`
	ApplyTo    string   `json:"apply-to"`
	Priority   int      `json:"priority"`
	Definition settings `json:"definition"`
}

// policies returns those that people set and those that operators set above them.
func (m *management) policies(ctx context.Context) (lists [2][]policy, err error) {
	if err = m.get(ctx, &lists[0], "policies", m.vhost); err == nil {
		err = m.get(ctx, &lists[1], "operator-policies", m.vhost)
	}
	return lists, err
}

// effective is what applies to a thing: of each list the one policy with the highest priority that matches.
func effective(lists [2][]policy, name string, kinds ...string) settings {
	merged := settings{}
	for _, list := range lists {
		var best *policy
		for i, p := range list {
			// The server has patterns that Go cannot read: the checker warns of these.
			if fits, _ := regexp.MatchString(p.Pattern, name); fits && slices.Contains(append(kinds, "all"), p.ApplyTo) && (best == nil || p.Priority > best.Priority) {
				best = &list[i]
			}
		}
		if best != nil {
			maps.Copy(merged, best.Definition)
		}
	}
	return merged
}
