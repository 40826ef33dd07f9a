package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestATopicThatStaysUnreadyKeepsNoMessageWhoseTimeIsOver(t *testing.T) {
	t.Parallel()
	s, err := New("127.0.0.1:1", Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshing = true // nobody asks
	of, name := s.topic("orders"), "orders"
	live := &call{}
	of.waiting = []entry{{call: &call{expired: true}}, {call: live}, {call: &call{expired: true}}}
	of.learn(kmsg.MetadataResponseTopic{Topic: &name, ErrorCode: kerr.LeaderNotAvailable.Code, Partitions: make([]kmsg.MetadataResponseTopicPartition, 1)})
	if len(of.waiting) != 1 || of.waiting[0].call != live {
		t.Errorf("%d wait", len(of.waiting))
	}
}
