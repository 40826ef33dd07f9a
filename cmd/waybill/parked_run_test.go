package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/internal/testenv"
)

// withBroker gives the relay a real broker that takes no body above 4 KiB.
func withBroker(d *asideTable) (broker string) {
	broker = testenv.StartNATS(d.t, testenv.NATSConfig{Settings: []string{"max_payload: 4096"}}).URL()
	d.env = append(d.env, "WAYBILL_SINK="+broker, "WAYBILL_SINKS__DEFAULT__CREATE=true", "WAYBILL_SINKS__DEFAULT__STREAM=orders",
		"WAYBILL_SINKS__DEFAULT__SUBJECTS=orders", "WAYBILL_RELAYS__DEFAULT__LEASE=2s")
	return broker
}

func (d asideTable) send(key, body string) (id string) {
	d.t.Helper()
	return strings.TrimSpace(d.must("send", "--topic", "orders", "--type", "order.created", "--key", key, "--data", body))
}

var tooLarge = strings.Repeat("x", 5000)

func confirmedBy(t *testing.T, probes string) int {
	t.Helper()
	var live struct{ Relays []picture }
	body, _ := get(probes, "/status")
	if err := json.Unmarshal([]byte(body), &live); err != nil || len(live.Relays) != 1 {
		t.Fatalf("%v: %s", err, body)
	}
	return int(live.Relays[0].Published)
}

func TestBadMessagesOfAKeyAreEditedAndReleasedInOrderWhileOthersFlow(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, d asideTable) {
		broker := withBroker(&d)
		var ids []string
		for range 3 {
			ids = append(ids, d.send("k", tooLarge))
		}
		d.send("other", "1")
		probes := freeAddress(t)
		p := d.start("run", "--listen", probes)
		eventually(t, "the key is set aside", func() bool { v, _ := d.list("--key", "k"); return len(v.Messages) == 3 && v.Messages[0].Attempts > 0 })
		ids = append(ids, d.send("k", "good"))
		d.send("other", "2")
		consume(t, broker, 2)
		eventually(t, "what comes later waits", func() bool { v, _ := d.list("--key", "k"); return len(v.Messages) == 4 })

		stdout, stderr, code := d.run("parked", "retry", ids[0], "--timeout", "30s")
		if code != fault.Problems || !strings.Contains(stdout, "held again") || !strings.Contains(stdout, "WB2123") || !strings.Contains(stderr, "WB4805") {
			t.Errorf("a retry in vain: exit %d\n%s%s", code, stdout, stderr)
		}
		for _, i := range []int{2, 1, 0} {
			d.write("body", fmt.Sprint("mended ", i))
			args := []string{"parked", "edit", ids[i], "--payload", "body", "--timeout", "30s"}
			if i > 0 {
				args = append(args, "--no-wait")
			}
			if out := d.must(args...); i == 0 && !strings.Contains(out, "published") {
				t.Errorf("the last edit printed %s", out)
			}
		}
		eventually(t, "nothing is set aside", func() bool { v, _ := d.list(); return len(v.Messages) == 0 })

		bodies := map[string]string{ids[0]: "mended 0", ids[1]: "mended 1", ids[2]: "mended 2", ids[3]: "good"}
		next := 0
		for _, m := range consume(t, broker, 6) {
			if id := m.Headers().Get("ce-id"); next < len(ids) && id == ids[next] {
				if string(m.Data()) != bodies[id] {
					t.Errorf("the body of %s is %.40q", id, m.Data())
				}
				next++
			} else if bodies[id] != "" {
				t.Errorf("%s came in place of %s", id, ids[next])
			}
		}
		if n := confirmedBy(t, probes); next != 4 || n != 6 {
			t.Errorf("%d of the key came, and %d confirmations for 6 messages", next, n)
		}
		if n := d.text(`SELECT count(*) FROM ` + d.prefix + `audit WHERE action = 'edit' AND before LIKE '%` + fmt.Sprintf("%x", tooLarge[:10]) + `%'`); n != "3" {
			t.Errorf("%s originals are kept", n)
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestADiscardedMessageNeverComesBack(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, d asideTable) {
		for _, mode := range []string{"cursor", "flagged"} {
			t.Run(mode, func(t *testing.T) {
				d := d
				d.t = t
				broker := withBroker(&d)
				d.env = append(d.env, "WAYBILL_SOURCES__DEFAULT__MODE="+mode, "WAYBILL_RELAYS__DEFAULT__ON_REJECTED=park")
				d.exec(`DELETE FROM ` + d.prefix + `cursor`) // of the other mode
				bad := d.send("k", tooLarge)
				d.send("k", "1")
				p := d.start("run", "--listen", "off")
				consume(t, broker, 1)
				eventually(t, "it is set aside", func() bool { v, _ := d.list("--state", "parked"); return len(v.Messages) == 1 })
				if out := d.must("parked", "discard", bad, "--timeout", "30s"); !strings.Contains(out, "discarded") {
					t.Errorf("printed %s", out)
				}
				if mode == "flagged" {
					if n := d.text(`SELECT count(*) FROM ` + d.prefix + `outbox_flagged WHERE is_published AND id = '` + bad + `'`); n != "1" {
						t.Error("its row is not marked")
					}
				}
				p.Kill() // the next owner reads from the last saved cursor
				p = d.start("run", "--listen", "off")
				d.send("k", "2")
				for i, m := range consume(t, broker, 2) {
					if string(m.Data()) != fmt.Sprint(i+1) {
						t.Errorf("message %d is %.40q", i, m.Data())
					}
				}
				if err := p.Stop(); err != nil {
					t.Error(err)
				}
				if v, _ := d.list(); len(v.Messages) != 0 {
					t.Errorf("set aside: %+v", v.Messages)
				}
				if status := readStatus(t, d.shell); status.Pending == nil || *status.Pending != 0 {
					t.Errorf("%+v", status)
				}
			})
		}
	})
}

func TestWhatWasAskedOfAKilledOwnerIsDoneByTheNext(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, d asideTable) {
		withBroker(&d)
		d.env = append(d.env, "WAYBILL_RELAYS__DEFAULT__LEASE=6s", "WAYBILL_RELAYS__DEFAULT__ON_REJECTED=park")
		id := d.send("k", tooLarge)
		p := d.start("run", "--listen", "off")
		eventually(t, "it is set aside", func() bool { v, _ := d.list(); return len(v.Messages) == 1 })
		d.must("parked", "retry", id, "--no-wait")
		p.Kill()
		probes := freeAddress(t)
		d.start("run", "--listen", probes)
		eventually(t, "the successor runs", func() bool {
			body, code := get(probes, "/status")
			return code == http.StatusOK && strings.Contains(body, `"running"`)
		})
		eventually(t, "it was tried again", func() bool {
			v, _ := d.list()
			return len(v.Messages) == 1 && v.Messages[0].Attempts >= 2 && v.Messages[0].State == "held" && v.Messages[0].Request == ""
		})
		if n := d.text(`SELECT count(*) FROM ` + d.prefix + `audit WHERE action = 'retry'`); n != "1" {
			t.Errorf("%s retries are noted", n)
		}
	})
}

func TestStatusShowsATopicThatWaits(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, d asideTable) {
		broker := withBroker(&d)
		d.env = append(d.env, "WAYBILL_RELAYS__DEFAULT__TOPICS=orders,st*")
		for range 3 {
			d.must("send", "--topic", "stock", "--type", "t", "--data", "x")
			d.must("send", "--topic", "other", "--type", "t", "--data", "x")
		}
		d.send("k", "1")
		p := d.start("run", "--listen", "off")
		consume(t, broker, 1)
		var s relayStatus
		eventually(t, "the topic waits", func() bool {
			s = readStatus(t, d.shell)
			return len(s.Branches) == 1 && *s.Branches[0].Pending == 3 && s.Pending != nil && *s.Pending == 0
		})
		if b := s.Branches[0]; b.Topic != "stock" || b.Since == nil || !strings.Contains(b.Error, "WB2111") || fmt.Sprint(s.Topics) != "[orders st*]" {
			t.Errorf("%+v", s)
		}
		if out := d.must("status"); !strings.Contains(out, "! default: topic stock waits since ") || !strings.Contains(out, ", 3 messages: waybill: WB2111") || !strings.Contains(out, "orders,st*") {
			t.Errorf("status:\n%s", out)
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// Owners die while people ask: all that was edited comes, before what waited behind it, and nothing that was discarded.
func TestRequestsSurviveOwnersThatAreKilled(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, d asideTable) {
		broker := withBroker(&d)
		const keys = 12
		var bad, first, second [keys]string
		for k := range keys {
			bad[k] = d.send(fmt.Sprint("k", k), tooLarge)
			first[k] = d.send(fmt.Sprint("k", k), "good")
		}
		owner, next := d.start("run", "--listen", "off"), d.start("run", "--listen", "off")
		eventually(t, "all keys are set aside", func() bool { v, _ := d.list(); return len(v.Messages) == 2*keys })
		d.write("body", "mended")
		for k := range keys {
			args := []string{"parked", "edit", bad[k], "--payload", "body", "--no-wait"}
			if k%3 == 0 {
				args = []string{"parked", "discard", bad[k], "--no-wait"}
			}
			d.must(args...)
			if k%4 == 0 {
				owner.Kill()
				owner, next = next, d.start("run", "--listen", "off")
			}
			second[k] = d.send(fmt.Sprint("k", k), "last")
		}
		eventually(t, "nothing is set aside", func() bool { v, _ := d.list(); return len(v.Messages) == 0 })
		eventually(t, "nothing is pending", func() bool { return *readStatus(t, d.shell).Pending == 0 })
		at := map[string]int{} // the first copy of each
		for i, m := range consume(t, broker, 3*keys-keys/3) {
			id := m.Headers().Get("ce-id")
			if _, again := at[id]; !again {
				at[id] = i + 1
			}
			if len(m.Data()) > 100 {
				t.Errorf("%s came unedited", id)
			}
		}
		for k := range keys {
			if (at[bad[k]] == 0) != (k%3 == 0) || at[bad[k]] >= at[first[k]] || at[first[k]] >= at[second[k]] {
				t.Errorf("key %d: the edited or discarded came at %d, the others at %d and %d", k, at[bad[k]], at[first[k]], at[second[k]])
			}
		}
		if n := d.text(`SELECT count(*) FROM ` + d.prefix + `audit`); n != fmt.Sprint(keys) {
			t.Errorf("%s actions are noted", n)
		}
		for _, p := range []*testenv.Process{owner, next} {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
}
