package sim

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/relay"
)

// The rest of Shell. What the real one does in goroutines happens in tasks.

// Acquire implements Shell.
func (p *proc) Acquire() {
	p.act(func() {
		p.async(func(t *task) func() {
			tenure, err := p.acquire(t)
			if err == nil {
				p.w.succeed(p)
			}
			return func() { p.core.Acquired(p.clock(), tenure, err) }
		})
	})
}

// Open implements Shell.
func (p *proc) Open(from relay.Position, epoch int64) {
	p.act(func() {
		if p.w.Broken != NeverFenced {
			p.epoch = epoch
		}
		p.async(func(t *task) func() {
			err := p.openSession(t, from)
			return func() { p.core.Opened(p.clock(), err) }
		})
	})
}

func (p *proc) openSession(t *task, from relay.Position) error {
	c, err := p.pooled(t)
	if err == nil {
		err = c.request(t)
	}
	if err == nil {
		err = c.response(t)
	}
	if err != nil {
		return err
	}
	c.keep = p.w.Broken == CursorKept
	s := &session{conn: c.conn, until: &p.readUntil}
	r, err := s.newReader(from)
	if err == nil {
		p.session, p.reader, p.seen, p.moved = s, r, -1, 0
	}
	return err
}

// ranged is the reader of a branch, on a session of its own.
type ranged struct {
	session *session
	reader  *snapshot.RangeReader
}

// OpenRange implements Shell.
func (p *proc) OpenRange(topic string, from, to relay.Position) {
	p.act(func() {
		p.async(func(t *task) func() {
			err := p.openRange(t, topic, from, to)
			return func() { p.core.RangeOpened(p.clock(), err) }
		})
	})
}

func (p *proc) openRange(t *task, topic string, from, to relay.Position) error {
	c, err := p.pooled(t)
	if err == nil {
		err = c.request(t)
	}
	if err == nil {
		err = c.response(t)
	}
	if err != nil {
		return err
	}
	if p.session == nil || p.session.life != p.w.db.life { // the end of the range is of that session
		return errBroken
	}
	at := snapshot.Cursor{S0: snapshot.Beginning}
	if from != "" {
		if at, err = snapshot.ParseCursor(string(from)); err != nil {
			return err
		}
	}
	end, err := snapshot.ParseCursor(string(to))
	if err != nil {
		return err
	}
	forever := never
	s := &session{conn: c.conn, until: &forever}
	r, err := snapshot.NewRange(s, at, end, topic)
	p.ranged = &ranged{s, r}
	p.w.log(p.name, "reads again, "+topic, 0, string(from)+" to "+string(to))
	return err
}

// ReadRange implements Shell.
func (p *proc) ReadRange(budget relay.Budget) {
	p.act(func() {
		r := p.ranged
		p.async(func(t *task) func() {
			r.session.task = t
			batch, end, err := r.reader.Next(context.Background(), budget)
			if err == nil && end {
				err = io.EOF
			}
			p.looks[1].saw(p.w.now, batch.Messages)
			p.w.log(p.name, "reads of a branch", int64(len(batch.Messages)), ids(batch.Messages))
			return func() { p.core.Range(p.clock(), batch, err) }
		})
	})
}

// saw notes whether what was read last shows how keys but the first do.
func (l *look) saw(now time.Duration, messages []relay.Message) {
	if len(messages) > 0 {
		l.at = now
		l.blind = !slices.ContainsFunc(messages, func(m relay.Message) bool { return m.Key != keyNames[0] })
	}
}

func ids(messages []relay.Message) (list string) {
	for i := range messages {
		list += messages[i].ID + " "
	}
	return list
}

// CloseRange implements Shell.
func (p *proc) CloseRange() { p.act(func() { p.ranged = nil }) }

// CloseReader implements Shell.
func (p *proc) CloseReader() { p.act(func() { p.session, p.reader = nil, nil }) }

// Renew implements Shell.
func (p *proc) Renew(lease relay.Lease, asked time.Duration) {
	p.act(func() {
		p.async(func(t *task) func() {
			err := p.changeLease(t, lease, func() time.Duration { return p.w.now + p.w.cfg.Lease })
			return func() { p.core.Renewed(p.clock(), asked, err) }
		})
	})
}

// Send implements Shell.
func (p *proc) Send(messages []*relay.Message, until time.Duration, confirm func(i int, err error)) {
	p.act(func() {
		p.sends += len(messages)
		for _, m := range messages {
			p.w.log(p.name, "sends", m.Pos, m.ID+" "+m.Key)
		}
		p.w.broker.publish(p, messages, p.born+until, confirm)
	})
}

// Save implements Shell.
func (p *proc) Save(lease relay.Lease, s relay.Save) {
	p.act(func() {
		began := p.w.now
		p.async(func(t *task) func() {
			err := p.save(t, lease, s)
			return func() { p.core.Saved(p.clock(), p.w.now-began, err) }
		})
	})
}

// Load implements Shell.
func (p *proc) Load(_ relay.Lease, lane string, limit int) {
	p.act(func() {
		p.async(func(t *task) func() {
			rows, err := p.heldRows(t, lane, limit)
			p.w.log(p.name, "loads held", int64(len(rows)), lane)
			if p.w.owner != p { // it does not know yet that it has a successor, which loads them too
				p.w.mayRepeat += len(rows)
			}
			return func() { p.core.Held(p.clock(), rows, err) }
		})
	})
}

// Release implements Shell.
func (p *proc) Release(lease relay.Lease) {
	p.act(func() {
		if p.w.owner == p {
			p.w.clean = p.failing == 0
		}
		p.w.spawn(0, func(t *task) {
			_ = p.changeLease(t, lease, func() time.Duration { return p.w.now }) // a lease that is not given back runs out
		})
	})
}

// Done implements Shell.
func (p *proc) Done(err error) {
	p.act(func() {
		p.w.log(p.name, "has ended", 0, "")
		if err != nil {
			p.w.fail("stopped: %s gave up: %w", p.name, err)
		}
		p.end()
	})
}

// Read implements Shell.
func (p *proc) Read(budget relay.Budget) {
	p.act(func() {
		p.readUntil = never
		p.async(func(t *task) func() {
			batch, err := p.read(t, budget)
			return func() { p.core.Read(p.clock(), batch, err) }
		})
	})
}

// read is the loop of source/postgres: it looks until there are messages, or the position moved without any.
func (p *proc) read(t *task, budget relay.Budget) (relay.Batch, error) {
	p.session.task = t
	d := p.w.db
	for {
		for p.seen == d.version && p.readUntil == never { // a look would find what the last one found
			p.news = t.ticket()
			d.watchers = append(d.watchers, p.news)
			t.wait(0)
			t.sleep(p.w.between(0, p.w.pollPause))
		}
		if p.readUntil != never {
			return relay.Batch{}, context.Canceled
		}
		p.seen = d.version
		batch, moved, err := p.reader.Next(context.Background(), budget)
		if err != nil {
			return relay.Batch{}, err
		}
		if len(batch.Messages) > 0 {
			p.seen = -1
			p.looks[0].saw(p.w.now, batch.Messages)
			p.w.log(p.name, "reads", int64(len(batch.Messages)), batch.Messages[0].ID+"...")
			return batch, nil
		}
		if moved && p.w.now-p.moved >= p.w.idleMove {
			p.moved = p.w.now
			return batch, nil
		}
	}
}

// QuitRead implements Shell.
func (p *proc) QuitRead() {
	p.act(func() {
		p.readUntil = p.w.now + 2*time.Second
		p.news.wake()
	})
}
