package kafka

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybillhq/waybill/relay"
)

// Check implements relay.Checker. With Create, a topic that is missing is no finding.
func (s *Sink) Check(ctx context.Context, topics []string) ([]relay.Finding, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.flight.Done()
	if err := s.client.Ping(ctx); err != nil {
		return nil, errConnect(err)
	}
	if len(topics) == 0 {
		return nil, nil
	}
	details, err := s.metadata(ctx, topics)
	if err != nil {
		return nil, err
	}
	var c checked
	var there []string
	for _, name := range topics {
		t, named := details[name]
		pinned := s.config.Partitions[name]
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case !named:
			c.warn("%v", errAsking(name, errSilent))
			continue
		case err == kerr.UnknownTopicOrPartition && s.config.Create:
			continue
		case err == kerr.UnknownTopicOrPartition:
			c.warn("%v", errNoTopic(name))
			continue
		case err == kerr.InvalidTopicException:
			c.warn("%v", errBadTopic(name))
			continue
		case err == kerr.TopicAuthorizationFailed:
			c.warn("%v", errForbidden(name, err))
			continue
		case err != nil:
			c.warn("%v", errAsking(name, err))
			continue
		case len(t.Partitions) < pinned:
			c.warn("%v", errFewer(name, len(t.Partitions), pinned))
		}
		if ops := t.AuthorizedOperations; ops != math.MinInt32 && ops&(1<<kmsg.ACLOperationWrite) == 0 { // before 2.3 brokers do not say
			c.warn("%v", errForbidden(name, kerr.TopicAuthorizationFailed))
		}
		there = append(there, name)
	}
	if len(there) == 0 {
		return c.found, nil
	}
	settings, err := kadm.NewClient(s.client).DescribeTopicConfigs(ctx, there...)
	if err != nil {
		c.warn("waybill: WB2331 kafka: read the settings of the topics: %v. Try: allow this user to DescribeConfigs, or check them by hand", err)
		return c.found, nil
	}
	for _, set := range settings {
		if set.Err != nil {
			c.warn("waybill: WB2331 kafka: read the settings of topic %q: %v. Try: allow this user to DescribeConfigs, or check them by hand", set.Name, set.Err)
			continue
		}
		replicas := 0
		for _, p := range details[set.Name].Partitions {
			replicas = len(p.Replicas)
		}
		c.topic(set, replicas, s.config.MaxBatchBytes)
	}
	return c.found, nil
}

type checked struct{ found []relay.Finding }

func (c *checked) warn(format string, args ...any) { c.say(false, format, args...) }

func (c *checked) say(refuse bool, format string, args ...any) {
	c.found = append(c.found, relay.Finding{Refuse: refuse, Text: fmt.Sprintf(format, args...)})
}

func (c *checked) topic(set kadm.ResourceConfig, replicas, batch int) {
	value := map[string]string{}
	for _, v := range set.Configs {
		value[v.Key] = v.MaybeValue()
	}
	number := func(key string) (int64, bool) {
		n, err := strconv.ParseInt(value[key], 10, 64)
		return n, err == nil
	}
	if replicas > 0 && replicas < 3 {
		c.warn("waybill: WB2332 kafka: topic %q has %d replica(s): what is confirmed is lost with few disks. Try: 3 replicas", set.Name, replicas)
	}
	if n, ok := number("min.insync.replicas"); ok && n < 2 {
		// With several replicas somebody counts on them, and acks=all means one machine whenever the others lag.
		c.say(replicas > 1, "waybill: WB2333 kafka: topic %q has min.insync.replicas=%d: a message is confirmed when only the leader has it, and lost with it. Try: 2, with 3 replicas", set.Name, n)
	}
	if value["unclean.leader.election.enable"] == "true" {
		c.say(true, "waybill: WB2334 kafka: topic %q takes a leader that lacks confirmed messages. Try: unclean.leader.election.enable=false", set.Name)
	}
	deletes := value["cleanup.policy"] == "" || strings.Contains(value["cleanup.policy"], "delete")
	if n, ok := number("retention.ms"); deletes && ok && n >= 0 && n < (24*time.Hour).Milliseconds() {
		c.warn("waybill: WB2335 kafka: topic %q drops messages after %v, read or not. Try: retention.ms above the longest lag of a consumer", set.Name, time.Duration(n)*time.Millisecond)
	}
	if n, ok := number("retention.bytes"); deletes && ok && n >= 0 {
		c.warn("waybill: WB2335 kafka: topic %q drops its oldest messages beyond %d bytes a partition, read or not. Try: retention.bytes=-1, or above the longest lag of a consumer", set.Name, n)
	}
	if strings.Contains(value["cleanup.policy"], "compact") {
		c.warn("waybill: WB2336 kafka: topic %q is compacted: it keeps the newest message of a key, and refuses those without one. Try: cleanup.policy=delete, or a key for every message", set.Name)
	}
	if n, ok := number("max.message.bytes"); ok && n < int64(batch) {
		c.warn("waybill: WB2337 kafka: topic %q takes at most %d bytes at once, and MaxBatchBytes is %d. Try: raise max.message.bytes, or lower MaxBatchBytes and the limits of Publish", set.Name, n, batch)
	}
}
