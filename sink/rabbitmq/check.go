package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/waybillhq/waybill/relay"
)

// Check implements relay.Checker: it looks at the exchange and at the queues of the topics, through the HTTP API, and
// changes nothing.
func (s *Sink) Check(ctx context.Context, topics []string) ([]relay.Finding, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.flight.Done()
	if _, err := s.connected(ctx); err != nil {
		return nil, err
	}
	c := &checker{config: &s.config, exchanges: map[string]bool{}}
	if s.config.ManagementURL == "" {
		c.warn("WB2431 rabbitmq: without ManagementURL nobody can see whether queues are durable, drop what is confirmed (overflow drop-head, time to live), or whether an alternate exchange hides what is unroutable. Try: ManagementURL, and rabbitmq_management on the server")
		return c.found, nil
	}
	s.dialing.Lock()
	at := s.servers[s.first]
	s.dialing.Unlock()
	m, err := s.config.management(at)
	if err == nil {
		c.management = m
		err = c.look(ctx, topics)
	}
	if err != nil {
		return c.found, fmt.Errorf("waybill: WB2439 rabbitmq: the HTTP API does not tell: %w. Try: check ManagementURL, and that the user has the tag management", err)
	}
	return c.found, nil
}

type checker struct {
	config     *Config
	management *management
	found      []relay.Finding
	exchanges  map[string]bool // looked at
	nodes      int             // of the cluster, 0 when this user may not see them
	policies   [2][]policy
	blind      bool // this user may not see policies
}

func (c *checker) add(refuse bool, text string) {
	f := relay.Finding{Refuse: refuse, Text: strings.TrimPrefix(text, "waybill: ")}
	if !slices.Contains(c.found, f) {
		c.found = append(c.found, f)
	}
}
func (c *checker) warn(format string, args ...any)   { c.add(false, fmt.Sprintf(format, args...)) }
func (c *checker) refuse(format string, args ...any) { c.add(true, fmt.Sprintf(format, args...)) }

func (c *checker) look(ctx context.Context, topics []string) error {
	var nodes []struct{}
	if err := c.management.get(ctx, &nodes, "nodes"); err == nil {
		c.nodes = len(nodes)
	} else if ctx.Err() != nil {
		return err
	} else {
		c.warn("WB2438 rabbitmq: this user may not see the nodes of the cluster, so replicas were not compared with them. Try: the tag monitoring")
	}
	var err error
	if c.policies, err = c.management.policies(ctx); ctx.Err() != nil {
		return err
	}
	c.blind = err != nil
	for _, list := range c.policies {
		for _, p := range list {
			if _, err := regexp.Compile(p.Pattern); err != nil {
				c.warn("WB2438 rabbitmq: the pattern %q of a policy cannot be read here, so what it applies to was not looked at. Try: a plainer pattern", p.Pattern)
			}
		}
	}
	names := map[string]bool{}
	for _, topic := range topics {
		queues, err := c.management.queues(ctx, c.config.Exchange, topic, c.exchange)
		switch {
		case errors.Is(err, errNotThere):
			c.warn("WB2412 rabbitmq: exchange %q, or one that it is bound to, does not exist. Try: make it, or correct Exchange", c.config.Exchange)
		case err != nil:
			return err
		case len(queues) == 0:
			c.unroutable(topic)
		}
		for _, queue := range queues {
			names[queue] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		var q queueInfo
		err := c.management.get(ctx, &q, "queues", c.management.vhost, name)
		switch {
		case errors.Is(err, errNotThere):
			c.unroutable(name)
		case err != nil:
			return err
		default:
			c.queue(&q)
		}
	}
	return nil
}

func (c *checker) unroutable(topic string) {
	if !c.config.Create {
		c.add(false, errUnroutable(c.config.Exchange, topic).Error())
	}
}

func (c *checker) exchange(name string, e exchangeInfo) {
	if c.exchanges[name] {
		return
	}
	c.exchanges[name] = true
	if !e.Durable {
		c.warn("WB2434 rabbitmq: exchange %q is not durable: after a restart it is gone and its topics wait. Try: make it durable", name)
	}
	alternate := e.Arguments["alternate-exchange"]
	if alternate == nil {
		alternate = effective(c.policies, name, "exchanges")["alternate-exchange"]
	}
	c.mayBeBlind()
	if alternate != nil {
		c.warn("WB2433 rabbitmq: exchange %q has the alternate exchange %q: a topic that no queue is bound for goes there, counts as published, and is never called missing. Try: none, or one whose queue somebody reads", name, alternate)
	}
}

func (c *checker) mayBeBlind() {
	if c.blind {
		c.warn("WB2438 rabbitmq: this user may not see the policies, so they were not looked at. Try: the tag policymaker, or a user of its own in ManagementURL")
	}
}

func (c *checker) queue(q *queueInfo) {
	if !c.blind {
		q.Policy = effective(c.policies, q.Name, "queues", map[string]string{"classic": "classic_queues", "quorum": "quorum_queues", "stream": "streams"}[q.Type])
	} else if q.Policy == nil {
		c.mayBeBlind()
	}
	if !q.Durable || q.Exclusive || q.Delete {
		c.refuse("WB2434 rabbitmq: queue %q is not durable, or goes with its consumer: what it holds is lost with that. Try: a durable queue", q.Name)
	}
	if q.Type == "stream" {
		if age, size := q.setting("max-age"), q.setting("max-length-bytes"); age != nil || size != nil {
			c.warn("WB2436 rabbitmq: stream %q drops its oldest messages, read or not (max-age %v, max-length-bytes %v). Try: more than the longest lag of a consumer", q.Name, age, size)
		}
	} else {
		c.losses(q)
	}
	switch {
	case q.Type == "classic" && c.nodes > 1 && q.Policy["ha-mode"] == nil:
		c.warn("WB2435 rabbitmq: classic queue %q is kept by one node of %d. Try: a quorum queue", q.Name, c.nodes)
	case q.Type != "classic" && q.Members != nil && len(q.Members) < min(3, c.nodes):
		c.warn("WB2435 rabbitmq: queue %q has %d member, and the cluster %d nodes. Try: rabbitmq-queues grow", q.Name, len(q.Members), c.nodes)
	case q.Type != "classic" && len(q.Online) < len(q.Members):
		c.warn("WB2437 rabbitmq: of the %d members of queue %q %d are online. Try: bring the others back", len(q.Members), q.Name, len(q.Online))
	}
}

// losses tells what throws away messages of a queue that is no stream.
func (c *checker) losses(q *queueInfo) {
	overflow, _ := q.setting("overflow").(string)
	bounded := q.setting("max-length") != nil || q.setting("max-length-bytes") != nil
	rejects := strings.HasPrefix(overflow, "reject-publish")
	if bounded && !rejects {
		c.refuse("WB2432 rabbitmq: queue %q is bounded and throws away its oldest messages when it is full (overflow drop-head). Try: overflow reject-publish", q.Name)
	}
	if q.setting("message-ttl") != nil || q.setting("expires") != nil {
		c.warn("WB2436 rabbitmq: queue %q drops messages, or itself, after a time, read or not (message-ttl %v, expires %v). Try: neither, or more than the longest lag of a consumer", q.Name, q.setting("message-ttl"), q.setting("expires"))
	}
	if q.setting("dead-letter-strategy") == "at-least-once" && !rejects {
		c.warn("WB2440 rabbitmq: queue %q asks for dead letters at least once, which only overflow reject-publish gives. Try: that", q.Name)
	}
}
