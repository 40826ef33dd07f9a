package sim

import (
	"context"
	"errors"
	"time"
)

var (
	errRefused = errors.New("connection refused")
	errBroken  = errors.New("server closed the connection unexpectedly")
	errDead    = errors.New("the process is dead")
	errLate    = context.DeadlineExceeded
)

// conn is a process's connection to the database. A statement is a request, its effect at one moment on the server, and a
// response: whatever breaks between the last two leaves the client without knowledge of the outcome.
type conn struct {
	p    *proc
	life int
	keep bool // CursorKept: it is made anew in silence after a crash
}

func (p *proc) dial(t *task) (*conn, error) {
	if !p.w.db.up {
		t.sleep(p.w.latency)
		return nil, errRefused
	}
	return &conn{p: p, life: p.w.db.life}, nil
}

// call is a client's wait for an answer, at most until deadline.
type call struct {
	*conn
	deadline *time.Duration
	x        *tx // the transaction that is open, if one is
	asked    int
}

// request brings a statement to the server.
func (c *call) request(t *task) error {
	c.linger()
	if !c.p.awake(t) {
		return errDead
	}
	c.asked++
	return c.travel(t)
}

// rest is what a statement may take on the server between its snapshot and its effect.
func (c *call) rest(t *task) error {
	if w := c.p.w; w.on(SlowStatement) && !w.healed && w.chance(0.1) {
		t.sleep(w.between(0, w.cfg.Lease*2))
	}
	return c.broken()
}

// response brings the answer to the client.
func (c *call) response(t *task) error {
	err := c.travel(t)
	c.linger()
	if !c.p.awake(t) {
		return errDead
	}
	return err
}

func (c *call) travel(t *task) error {
	w, s := c.p.w, c.p.slot
	t.sleep(time.Duration(w.rand.Int64N(int64(w.latency))))
	for w.now < s.cutUntil { // segments are sent again until the network is back
		if w.now >= *c.deadline || c.p.dead {
			return errLate
		}
		t.sleep(min(s.cutUntil-w.now, 200*time.Millisecond))
	}
	for c.keep && (c.life != w.db.life || !w.db.up) {
		if c.life = w.db.life; !w.db.up {
			t.sleep(10 * time.Millisecond)
		}
	}
	return c.broken()
}

func (c *call) broken() error {
	if c.life != c.p.w.db.life || c.x != nil && c.x.state == gone {
		return errBroken
	}
	return nil
}

// idleTimeout is the server's patience with a client that leaves a transaction open.
const idleTimeout = 5 * time.Second

// linger lets the server end the transaction of a client that has frozen or is cut off.
func (c *call) linger() {
	if x := c.x; x != nil && x.state == active && (c.p.frozen() || c.p.w.now < c.p.slot.cutUntil) {
		asked := c.asked
		c.p.w.after(idleTimeout, func() {
			if c.asked == asked {
				x.abort()
			}
		})
	}
}

// leave ends a transaction that the client gives up. A server that cannot be reached notices later.
func (c *call) leave() {
	switch x := c.x; {
	case x == nil:
	case c.p.w.now < c.p.slot.cutUntil:
		c.p.w.after(idleTimeout, x.abort)
	default:
		x.abort()
	}
}
