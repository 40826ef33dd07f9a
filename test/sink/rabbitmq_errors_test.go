package sink_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/sink/rabbitmq"
)

// wantRabbit wants an error of a class with a code.
func wantRabbit(t *testing.T, err error, of, code string) {
	t.Helper()
	if class(err) != of || err != nil && !strings.Contains(err.Error(), code) {
		t.Errorf("got %s: %v, want %s %s", class(err), err, of, code)
	}
}

// rabbitStored returns how often each id is stored, once n messages are.
func rabbitStored(t *testing.T, c *rabbitConsumer, n int) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	list, err := c.received(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]int{}
	for _, r := range list {
		ids[r.ID]++
	}
	return ids
}

func TestAMessageThatRabbitMQAcknowledgesAndDoesNotRouteIsNotPublished(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	rabbitExchange(t, vhost, "events", "topic", nil)
	rabbitQueue(t, vhost, "orders", "quorum", nil)
	rabbitBind(t, vhost, "events", "orders", "orders.#")
	sink := newRabbit(t, vhost.URL, rabbitmq.Config{Exchange: "events"})
	messages := many("orders.created", 0, 200)
	for i := 3; i < 200; i += 10 {
		messages[i] = message(fmt.Sprint("unknown.", i%3), fmt.Sprint(i))
	}
	for i, err := range send(t, sink, time.Minute, messages...) {
		if i%10 == 3 {
			wantRabbit(t, err, "topic", "WB2411")
		} else if err != nil {
			t.Errorf("neighbour %d: %v", i, err)
		}
	}
	if got := rabbitStored(t, &rabbitConsumer{vhost: vhost, queue: "orders"}, 180); len(got) != 180 {
		t.Errorf("%d are stored, want 180", len(got))
	}
}

func TestABindingThatComesAndGoesLosesNothing(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	rabbitExchange(t, vhost, "events", "topic", nil)
	rabbitQueue(t, vhost, "orders", "classic", nil)
	sink := newRabbit(t, vhost.URL, rabbitmq.Config{Exchange: "events"})
	stop := make(chan struct{})
	var toggling sync.WaitGroup
	toggling.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				rabbitBind(t, vhost, "events", "orders", "orders")
				vhost.API(t, "DELETE", "/bindings/"+vhost.Name+"/e/events/q/orders/orders", nil)
			}
		}
	})
	confirmed, returned := map[string]bool{}, 0
	for n := 0; n < 300; n += 10 {
		messages := many("orders", n, n+10)
		for i, err := range send(t, sink, time.Minute, messages...) {
			if err == nil {
				confirmed[messages[i].ID] = true
				continue
			}
			wantRabbit(t, err, "topic", "WB2411")
			returned++
		}
	}
	close(stop)
	toggling.Wait()
	if len(confirmed) == 0 || returned == 0 {
		t.Fatalf("%d confirmed and %d returned: nothing came and went", len(confirmed), returned)
	}
	stored := rabbitStored(t, &rabbitConsumer{vhost: vhost, queue: "orders"}, len(confirmed))
	for id := range confirmed {
		if stored[id] == 0 {
			t.Errorf("%s was confirmed and is not stored", id)
		}
	}
}

func TestAFullQueueRefusesItsOwnMessagesAndNoOthers(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"quorum", "classic"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			vhost := testenv.RabbitMQVhost(t)
			rabbitQueue(t, vhost, "full", kind, map[string]any{"x-max-length": 10, "x-overflow": "reject-publish"})
			rabbitQueue(t, vhost, "free", kind, nil)
			sink := newRabbit(t, vhost.URL, rabbitmq.Config{})
			sendUntilStored(t, sink, many("full", 0, 10)...)
			var refused []*relay.Message
			for end := time.Now().Add(time.Minute); len(refused) == 0 && time.Now().Before(end); { // the limit is noticed a little later
				n := len(refused) + 10
				messages := append(many("full", n, n+20), many("free", n, n+20)...)
				for i, err := range send(t, sink, time.Minute, messages...) {
					if err != nil {
						wantRabbit(t, err, "temporary", "WB2405")
						refused = append(refused, messages[i])
					}
				}
			}
			if len(refused) == 0 {
				t.Fatal("a full queue refused nothing")
			}
			c := &rabbitConsumer{vhost: vhost, queue: "full"}
			before := rabbitStored(t, c, 10)
			for _, m := range refused {
				if m.Topic != "full" {
					t.Errorf("%s was refused by a queue that is not full", m.ID)
				}
				// A quorum queue refuses what it already holds when it notices that it is full: sent again, that is a copy.
				if kind == "classic" && before[m.ID] > 0 {
					t.Errorf("%s was refused, and is stored %d times", m.ID, before[m.ID])
				}
			}
			sendUntilStored(t, sink, refused[:min(5, len(refused))]...) // the consumer has made room
		})
	}
}

func TestAMissingExchangeIsTheFaultOfItsTopics(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	rabbitQueue(t, vhost, "orders", "classic", nil)
	sink := newRabbit(t, vhost.URL, rabbitmq.Config{Exchange: "events"})
	make := func() {
		rabbitExchange(t, vhost, "events", "direct", nil)
		rabbitBind(t, vhost, "events", "orders", "orders")
	}
	for _, err := range send(t, sink, time.Minute, many("orders", 0, 1000)...) {
		wantRabbit(t, err, "topic", "WB2412")
	}
	make()
	sendUntilStored(t, sink, many("orders", 1000, 1010)...)
	confirmed := 10
	for n := range 20 { // it goes in the middle of a batch
		var removal sync.WaitGroup
		removal.Go(func() {
			time.Sleep(time.Duration(n) * time.Millisecond)
			vhost.API(t, "DELETE", "/exchanges/"+vhost.Name+"/events", nil)
		})
		for _, err := range send(t, sink, time.Minute, many("orders", 2000+200*n, 2200+200*n)...) {
			if err == nil {
				confirmed++
			} else if c := class(err); c != "topic" && c != "temporary" {
				t.Fatal(err)
			}
		}
		removal.Wait()
		make()
	}
	if stored := rabbitStored(t, &rabbitConsumer{vhost: vhost, queue: "orders"}, confirmed); len(stored) < confirmed {
		t.Errorf("%d were confirmed, %d are stored", confirmed, len(stored))
	}
}

// rabbitUser makes a user that may write to what matches the pattern, and returns the URL for it.
func rabbitUser(t *testing.T, vhost *testenv.Vhost, write string) (name, at string) {
	t.Helper()
	name = vhost.Name + "-user"
	vhost.API(t, "PUT", "/users/"+name, map[string]any{"password": "canary-secret", "tags": ""})
	t.Cleanup(func() { vhost.API(t, "DELETE", "/users/"+name, nil) })
	vhost.API(t, "PUT", "/permissions/"+vhost.Name+"/"+name, map[string]any{"configure": "", "write": write, "read": ""})
	u, err := url.Parse(vhost.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, "canary-secret")
	return name, u.String()
}

func TestAForbiddenTopicTakesNoOtherWithIt(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	rabbitExchange(t, vhost, "events", "topic", nil)
	rabbitQueue(t, vhost, "all", "classic", nil)
	rabbitBind(t, vhost, "events", "all", "#")
	user, at := rabbitUser(t, vhost, ".*")
	topics := func(write string) {
		vhost.API(t, "PUT", "/topic-permissions/"+vhost.Name+"/"+user, map[string]any{"exchange": "events", "write": write, "read": ".*"})
	}
	topics("^orders")
	sink := newRabbit(t, at, rabbitmq.Config{Exchange: "events"})
	messages := many("orders", 0, 100)
	for i := 3; i < 100; i += 10 {
		messages[i] = message("secret's 'own'", fmt.Sprint(i))
	}
	// The server closes a channel for it, so neighbours may have to be sent again, but only once.
	var again []*relay.Message
	for i, err := range send(t, sink, time.Minute, messages...) {
		switch {
		case i%10 == 3:
			wantRabbit(t, err, "topic", "WB2413")
			again = append(again, messages[i])
		case err != nil:
			wantRabbit(t, err, "temporary", "WB2402")
			again = append(again, messages[i])
		}
	}
	for i, err := range send(t, sink, time.Minute, again...) {
		if again[i].Topic == "orders" {
			wantRabbit(t, err, "confirmed", "")
		} else {
			wantRabbit(t, err, "topic", "WB2413")
		}
	}
	topics(".*")
	sendUntilAllowed(t, sink, message("secret's 'own'", "3"))
}

// sendUntilAllowed sends m while its topic is forbidden: the server keeps permissions in a cache of each channel.
func sendUntilAllowed(t *testing.T, sink relay.Sink, m *relay.Message) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := send(t, sink, time.Minute, m)[0]
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestAUserWithoutTheRightToWriteIsATopicsFault(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	rabbitExchange(t, vhost, "events", "fanout", nil)
	rabbitQueue(t, vhost, "all", "classic", nil)
	rabbitBind(t, vhost, "events", "all", "")
	user, at := rabbitUser(t, vhost, "^other")
	sink := newRabbit(t, at, rabbitmq.Config{Exchange: "events"})
	for _, err := range send(t, sink, time.Minute, many("orders", 0, 10)...) {
		wantRabbit(t, err, "topic", "WB2413")
	}
	vhost.API(t, "PUT", "/permissions/"+vhost.Name+"/"+user, map[string]any{"configure": "", "write": "events", "read": ""})
	sendUntilAllowed(t, sink, message("orders", "10"))
	internal := newRabbit(t, vhost.URL, rabbitmq.Config{Exchange: "amq.rabbitmq.trace"})
	wantRabbit(t, send(t, internal, time.Minute, message("orders", "11"))[0], "topic", "WB2413")
}

func TestWhatTheServerWouldEndTheConnectionForIsRejectedBefore(t *testing.T) {
	t.Parallel()
	server := testenv.StartRabbitMQ(t, testenv.RabbitMQConfig{Settings: []string{"frame_max = 8192", "max_message_size = 20000"}})
	vhost := server.Vhost(t)
	rabbitQueue(t, vhost, "orders", "classic", nil)
	sink := newRabbit(t, vhost.URL, rabbitmq.Config{MaxMessageBytes: 30_000})
	long := strings.Repeat("x", 256)
	for name, c := range map[string]struct {
		spoil func(m *relay.Message)
		code  string
	}{
		"topic":        {func(m *relay.Message) { m.Topic = long }, "WB2421"},
		"id":           {func(m *relay.Message) { m.ID = long }, "WB2421"},
		"type":         {func(m *relay.Message) { m.Type = long }, "WB2421"},
		"content type": {func(m *relay.Message) { m.ContentType = long }, "WB2421"},
		"header name":  {func(m *relay.Message) { m.Headers = []waybill.Header{{Name: long}} }, "WB2422"},
		"CC":           {func(m *relay.Message) { m.Headers = []waybill.Header{{Name: "CC", Value: "other"}} }, "WB2422"},
		"bcc":          {func(m *relay.Message) { m.Headers = []waybill.Header{{Name: "bcc", Value: "other"}} }, "WB2422"},
		"twice":        {func(m *relay.Message) { m.Headers = []waybill.Header{{Name: "a"}, {Name: "a"}} }, "WB2422"},
		"ours":         {func(m *relay.Message) { m.Headers = []waybill.Header{{Name: "cloudEvents_id"}} }, "WB2422"},
		"headers": {func(m *relay.Message) {
			m.Headers = []waybill.Header{{Name: "a", Value: strings.Repeat("x", 8192)}}
		}, "WB2423"},
		"payload": {func(m *relay.Message) { m.Payload = make([]byte, 30_001) }, "WB2424"},
	} {
		messages := many("orders", 0, 20)
		c.spoil(messages[10])
		for i, err := range send(t, sink, time.Minute, messages...) {
			if i == 10 {
				wantRabbit(t, err, "rejected", c.code)
			} else if err != nil {
				t.Errorf("%s: neighbour %d: %v", name, i, err)
			}
		}
	}

	// The server's own limit is smaller than ours and is not told beforehand: it closes the channel.
	messages := many("orders", 0, 20)
	messages[10].Payload = make([]byte, 25_000)
	var again []*relay.Message
	for i, err := range send(t, sink, time.Minute, messages...) {
		if i == 10 {
			wantRabbit(t, err, "rejected", "WB2424")
		} else if err != nil {
			wantRabbit(t, err, "temporary", "WB2402")
			again = append(again, messages[i])
		}
	}
	messages[10].Payload = make([]byte, 20_001)
	for i, err := range send(t, sink, time.Minute, append(again, messages[10])...) {
		if i == len(again) {
			wantRabbit(t, err, "rejected", "WB2424")
		} else if err != nil {
			t.Errorf("neighbour %d once the limit is known: %v", i, err)
		}
	}

	// A header as large as a frame allows is taken: one byte more is what we refuse.
	for size, last := 7000, 0; last == 0; size++ {
		m := message("orders", "edge")
		m.Headers = []waybill.Header{{Name: "a", Value: strings.Repeat("x", size)}}
		if err := send(t, sink, time.Minute, m)[0]; relay.IsRejected(err) {
			last = size
			m.Headers[0].Value = m.Headers[0].Value[1:]
			wantRabbit(t, send(t, sink, time.Minute, m)[0], "confirmed", "")
		} else if err != nil {
			t.Fatalf("a header of %d bytes: %v", size, err)
		} else if size < 7700 {
			size += 99
		}
	}
	c := &rabbitConsumer{vhost: vhost, queue: "orders"}
	if _, err := c.received(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

func TestAQueueIsMadeOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	vhost := testenv.RabbitMQVhost(t)
	wantRabbit(t, send(t, newRabbit(t, vhost.URL, rabbitmq.Config{}), time.Minute, message("orders", "1"))[0], "topic", "WB2411")
	if queues := vhost.API(t, "GET", "/queues/"+vhost.Name, nil); queues != "[]" {
		t.Errorf("without Create: %s", queues)
	}
	creating := newRabbit(t, vhost.URL, rabbitmq.Config{Create: true})
	for _, err := range send(t, creating, time.Minute, many("orders", 1, 100)...) {
		if err != nil {
			wantRabbit(t, err, "temporary", "WB240")
		}
	}
	sendUntilStored(t, creating, many("orders", 1, 100)...)
	if queue := vhost.API(t, "GET", "/queues/"+vhost.Name+"/orders", nil); !strings.Contains(queue, `"durable":true`) || !strings.Contains(queue, `"quorum"`) {
		t.Errorf("made: %s", queue)
	}

	rabbitExchange(t, vhost, "events", "topic", nil)
	rabbitQueue(t, vhost, "old", "classic", nil)
	through := newRabbit(t, vhost.URL, rabbitmq.Config{Create: true, Exchange: "events"})
	sendUntilStored(t, through, message("old", "1"), message("new", "1"))
	for queue, kind := range map[string]string{"old": "classic", "new": "quorum"} {
		if info := vhost.API(t, "GET", "/queues/"+vhost.Name+"/"+queue, nil); !strings.Contains(info, `"type":"`+kind+`"`) {
			t.Errorf("%s: %s", queue, info)
		}
	}
	_, at := rabbitUser(t, vhost, ".*")
	forbidden := newRabbit(t, at, rabbitmq.Config{Create: true})
	wantRabbit(t, send(t, forbidden, time.Minute, message("more", "1"))[0], "topic", "WB2407")
}
