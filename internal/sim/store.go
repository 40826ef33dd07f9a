package sim

import (
	"slices"
	"time"

	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/relay"
)

// The calls of relay.Store, statement by statement as internal/sqlstore and source/postgres send them.

func (p *proc) open(c *conn) *call {
	deadline := p.w.now + p.w.cfg.Lease // none lasts longer
	return &call{conn: c, deadline: &deadline}
}

func (p *proc) pooled(t *task) (*call, error) {
	c, err := p.dial(t)
	if err != nil {
		return nil, err
	}
	return p.open(c), nil
}

// unixMilli is the database's clock as a number for epochs.
func (w *world) unixMilli() int64 { return 1_700_000_000_000 + int64(w.now/time.Millisecond) }

func (p *proc) acquire(t *task) (tenure relay.Tenure, err error) {
	d, ttl := p.w.db, p.w.cfg.Lease
	c, err := p.pooled(t)
	if err != nil {
		return tenure, err
	}
	c.x = d.begin()
	defer c.leave()
	if err := c.request(t); err != nil {
		return tenure, err
	}
	if !c.x.lock(t, &d.leaseLock) {
		return tenure, errBroken
	}
	lease := &d.tables.lease
	if lease.owner != p.owner && lease.expires > p.w.now {
		held := &relay.HeldError{Owner: lease.owner, For: lease.expires - p.w.now}
		c.x.abort()
		c.x = nil
		if err := c.response(t); err != nil {
			return tenure, err
		}
		return tenure, held
	}
	epoch := max(lease.epoch+1, d.tables.cursor.epoch+1, p.w.unixMilli())
	expires := p.w.now + ttl
	c.x.number()
	if err := c.next(t); err != nil {
		return tenure, err
	}
	if !c.x.lock(t, &d.cursorLock) {
		return tenure, errBroken
	}
	if err := c.next(t); err != nil {
		return tenure, err
	}
	tenure.Position = d.tables.cursor.position
	if err := c.next(t); err != nil {
		return tenure, err
	}
	tenure.Held = d.tables.lanes()
	tenure.Branches = slices.Clone(d.tables.branches)
	c.x.change = func(tb *tables) {
		tb.lease.owner, tb.lease.epoch, tb.lease.expires = p.owner, epoch, expires
		tb.cursor.epoch = epoch
	}
	if err := c.next(t); err != nil {
		return tenure, err
	}
	if !c.x.commit(t, true) {
		return tenure, errBroken
	}
	tenure.Lease = relay.Lease{Relay: p.w.cfg.Name, Owner: p.owner, Epoch: epoch}
	p.tenure = epoch
	p.w.log(p.name, "acquires, epoch", epoch-1_700_000_000_000, string(tenure.Position))
	return tenure, c.response(t)
}

// next is the way back to the client and to the server again, between two statements of a transaction.
func (c *call) next(t *task) error {
	if err := c.response(t); err != nil {
		return err
	}
	return c.request(t)
}

// changeLease is one statement that commits by itself, durably.
func (p *proc) changeLease(t *task, lease relay.Lease, expires func() time.Duration) error {
	d := p.w.db
	c, err := p.pooled(t)
	if err != nil {
		return err
	}
	if err := c.request(t); err != nil {
		return err
	}
	x := d.begin()
	defer x.abort()
	if !x.lock(t, &d.leaseLock) {
		return errBroken
	}
	row := d.tables.lease
	if row.epoch != lease.Epoch || row.owner != lease.Owner {
		x.abort()
		if err := c.response(t); err != nil {
			return err
		}
		return relay.ErrLost
	}
	until := expires()
	x.number()
	x.change = func(tb *tables) { tb.lease.expires = until }
	if !x.commit(t, true) {
		return errBroken
	}
	return c.response(t)
}

// save runs on the reader's session, beside its reads.
func (p *proc) save(t *task, lease relay.Lease, s relay.Save) (err error) {
	d, bug := p.w.db, p.w.Broken
	session := p.session
	if session == nil {
		return errBroken
	}
	if s.Durable && bug == StopWithoutSave {
		return nil
	}
	session.turn.take(t)
	defer session.turn.give()
	c := p.open(session.conn)
	if err := c.request(t); err != nil {
		return err
	}
	x := d.begin()
	many := len(s.Branches)+len(s.Merged)+len(s.Park)+len(s.Retried)+len(s.Unpark) > 0
	if many {
		c.x = x
		defer c.leave()
	} else {
		defer x.abort() // a statement alone ends with its connection
	}
	seen := d.tables.lease.epoch // by a guard that is a subquery
	x.number()
	if err := c.rest(t); err != nil {
		return err
	}
	if !x.lock(t, &d.cursorLock) {
		return errBroken
	}
	mine := d.tables.cursor.epoch == lease.Epoch
	switch bug {
	case GuardBySubquery:
		mine = seen == lease.Epoch
	case NoEpoch:
		mine = true
	}
	if !mine {
		x.abort()
		if err := c.response(t); err != nil {
			return err
		}
		return relay.ErrLost
	}
	var to snapshot.Cursor
	if s.Position != "" && !p.w.otherReader() {
		if to, err = snapshot.ParseCursor(string(s.Position)); err != nil {
			return err
		}
		if x.number() < to.Newest().Xmax {
			return errBroken
		}
	}
	for _, b := range s.Branches {
		at, err := snapshot.ParseCursor(string(b.Position))
		if b.Position == "" {
			at, err = snapshot.Cursor{}, nil
		}
		if err != nil {
			return err
		}
		if x.number() < at.Newest().Xmax {
			return errBroken
		}
		if _, there := d.tables.branch(b.Topic); !there { // what was confirmed behind its beginning comes again
			p.w.mayRepeat += p.w.cfg.Window
		}
	}
	p.w.checkCursor(p, lease, s, to)
	p.w.checkParks(s)
	p.w.log(p.name, "saves, parks", int64(len(s.Park)), string(s.Position))
	for _, b := range s.Branches {
		p.w.log(p.name, "saves the branch "+b.Topic, 0, string(b.Position))
	}
	for _, topic := range s.Merged {
		p.w.log(p.name, "merges "+topic, 0, "")
	}
	x.save = true
	x.change = func(tb *tables) { tb.save(s, to) }
	if many {
		if err := c.next(t); err != nil {
			return err
		}
		if err := c.next(t); err != nil {
			return err
		}
	}
	if !x.commit(t, s.Durable) {
		return errBroken
	}
	return c.response(t)
}

func (p *proc) heldRows(t *task, lane string, limit int) ([]relay.Parked, error) {
	c, err := p.pooled(t)
	if err != nil {
		return nil, err
	}
	if err := c.request(t); err != nil {
		return nil, err
	}
	if err := c.rest(t); err != nil {
		return nil, err
	}
	rows := p.w.db.tables.held(lane, limit)
	return rows, c.response(t)
}
