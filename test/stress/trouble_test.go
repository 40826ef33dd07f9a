package stress

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
)

// trouble is what befalls a broker for a while.
type trouble struct {
	begin, end func()
	lasts      time.Duration
	flows      bool // all the same, through the servers that are left
}

func killed(server interface {
	Kill()
	Restart()
}, down time.Duration) trouble {
	return trouble{server.Kill, server.Restart, down, false}
}

// hour is an outage of an hour, scaled: every back-off has come to its longest.
func hour() time.Duration { return time.Duration(per(20, 120)) * time.Second }

// times are the short troubles and then the long outage.
func times(n int, make func(lasts time.Duration) trouble) (list []trouble) {
	for range n {
		list = append(list, make(0))
	}
	return append(list, make(hour()))
}

// The same relays go on, in this process. What a broker has confirmed it still has, in order; no attempt is counted, nothing is
// parked. A key that fails while others are confirmed may be held for a while: a broker does not come back all at once.
func TestBrokersInTroubleUnderLoadLoseNothingTheyConfirmed(t *testing.T) {
	t.Parallel()
	type start func(t *testing.T, topic string) (map[string]*broker, []trouble)
	cases := map[string]start{
		"jetstream, killed": func(t *testing.T, topic string) (map[string]*broker, []trouble) {
			n := newJetStream(t)
			return map[string]*broker{"jetstream": n.stream(t, topic)}, times(per(2, 20), func(d time.Duration) trouble { return killed(n, d) })
		},
		"jetstream that flushes always, killed": func(t *testing.T, topic string) (map[string]*broker, []trouble) {
			n := newJetStream(t, "sync_interval: always")
			return map[string]*broker{"jetstream": n.stream(t, topic)}, times(per(2, 20), func(d time.Duration) trouble { return killed(n, d) })
		},
		"kafka, killed": func(t *testing.T, topic string) (map[string]*broker, []trouble) {
			k := testenv.StartKafka(t, testenv.KafkaConfig{})
			return map[string]*broker{"kafka": kafkaTopic(t, k.Brokers(), topic, nil)}, times(per(0, 10), func(d time.Duration) trouble { return killed(k, d) })
		},
		"kafka of three, leader killed": func(t *testing.T, topic string) (map[string]*broker, []trouble) {
			k := testenv.StartKafka(t, testenv.KafkaConfig{Nodes: 3})
			two := "2"
			b := kafkaTopic(t, k.Brokers(), topic, map[string]*string{"min.insync.replicas": &two})
			return map[string]*broker{"kafka": b}, times(per(0, 10), func(d time.Duration) trouble {
				var leader *testenv.KafkaNode
				return trouble{func() { leader = kafkaLeader(t, k, topic); leader.Kill() }, func() { leader.Restart() }, d, true}
			})
		},
		"rabbitmq, killed and without disk": func(t *testing.T, topic string) (map[string]*broker, []trouble) {
			r := testenv.StartRabbitMQ(t, testenv.RabbitMQConfig{})
			list := times(per(0, 10), func(d time.Duration) trouble { return killed(r, d) })
			list = append(list, trouble{
				func() { r.Ctl(t, "set_disk_free_limit", "100000GB") }, func() { r.Ctl(t, "set_disk_free_limit", "10MB") }, 5 * time.Second, false})
			relays := map[string]*broker{}
			for _, kind := range []string{"quorum", "classic"} {
				relays[kind] = rabbitQueue(t, r.Vhost(t), kind, topic)
			}
			time.Sleep(time.Second) // a killed server forgets a younger quorum queue: docs/sinks/rabbitmq.md
			return relays, list
		},
	}
	if per(0, 1) > 0 {
		// Kafka 4.3.1 can hide a transaction whose end was under way in a crash (see settleKafka in test/sink). It was not met here.
		cases["kafka with a fence, killed"] = func(t *testing.T, topic string) (map[string]*broker, []trouble) {
			k := testenv.StartKafka(t, testenv.KafkaConfig{})
			b := kafkaTopic(t, k.Brokers(), topic, nil)
			b.kind, b.url = "kafka with a fence", b.url+"#"+topic
			return map[string]*broker{"kafka": b}, times(10, func(d time.Duration) trouble { return killed(k, d) })
		}
	}
	var all sync.WaitGroup // at once, for they wait more than they work
	defer all.Wait()
	for name, start := range cases {
		all.Go(func() {
			t.Run(name, func(t *testing.T) {
				k := kinds["postgres cursor"]
				s := newStage(t, k, k.database(t))
				s.load.Think = time.Duration(per(60, 30)) * time.Millisecond // the backlog of an outage is gone soon
				to, troubles := start(t, s.load.Topic)
				s.suffer(t, to, troubles)
			})
		})
	}
}

func (s *stage) suffer(t *testing.T, to map[string]*broker, troubles []trouble) {
	relays, epochs := map[string]running{}, map[string]int64{}
	for name, b := range to {
		relays[name] = s.startRelay(t, relay.Config{Name: name, Sink: b.sink(t), Window: window})
	}
	flow := func() {
		t.Helper()
		for name, r := range relays {
			before := r.Status().Published
			within(t, "messages to flow to "+name, func() bool { return r.Status().Published > before+200 })
		}
	}
	s.underLoad(t, func() {
		flow()
		for name, r := range relays {
			epochs[name] = r.Status().Epoch
		}
		for _, trouble := range troubles {
			flow()
			time.Sleep(rand.N(300 * time.Millisecond)) // any moment will do
			trouble.begin()
			time.Sleep(trouble.lasts)
			if trouble.flows {
				flow()
			}
			trouble.end()
			s.unattempted(t)
		}
		flow()
	})
	for name, b := range to {
		s.arrive(t, b.observe, "everything committed through "+name)
		relays[name].stop()
		status := relays[name].Status()
		t.Logf("%s: %d troubles, %d sent again, %d held for a while", name, len(troubles), status.Retried, status.SetAside)
		s.check(t, b.observe(t), window*len(troubles))
		if left := fmt.Sprint(status.Parked, status.HeldLanes, status.Branches, status.Epoch-epochs[name]); left != "0 0 [] 0" {
			t.Errorf("%s: parked, still held, branches, new owners: %s", name, left)
		}
	}
	var rows int
	if err := s.db.QueryRow(`SELECT count(*) FROM waybill.parked`).Scan(&rows); err != nil || rows > 0 {
		t.Errorf("%d messages are parked or held, %v", rows, err)
	}
}

// unattempted looks for messages that an outage has cost an attempt, or that wait for a person.
func (s *stage) unattempted(t *testing.T) {
	t.Helper()
	var rows int
	if err := s.db.QueryRow(`SELECT count(*) FROM waybill.parked WHERE attempts > 0 OR state <> 'held'`).Scan(&rows); err != nil || rows > 0 {
		t.Errorf("%d messages have used up an attempt or are parked, %v", rows, err)
	}
}
