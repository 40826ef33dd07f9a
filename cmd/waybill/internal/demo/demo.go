// Package demo shows what Waybill is for: a registration service that writes its database and then the broker beside
// the same service on Waybill, under the same load and the same faults, and what became of their messages.
//
// Nothing is simulated. The broker and both services are processes of their own that are paused, stopped and killed.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"time"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
)

// Options say how to run the demo.
type Options struct {
	// For is how long the load and the faults last, and longer if by then not every fault has happened. Defaults to until ctx ends.
	For time.Duration
	// JSON asks for the result alone, as one object.
	JSON bool
	// Out is where the result goes, and without JSON what happens meanwhile. Required.
	Out io.Writer
	// Terminal says that Out understands ANSI sequences: it gets a live view when For is 0.
	Terminal bool
}

// Result is the account of both services.
type Result struct {
	DoubleWrite Counts `json:"double_write"`
	Waybill     Counts `json:"waybill"`
}

// healTime bounds how long Waybill may need to publish what is left once everything works again.
const healTime = 15 * time.Second

// demo is one run.
type demo struct {
	dir, address    string // of the temporary files; of the broker
	broker, relay   *process
	double, waybill *side
	screen          *screen
	fail            context.CancelCauseFunc
}

// Run runs the demo, prints the result, and returns an error when Waybill lost, invented or reordered a message, or when
// the run proves nothing. The end of ctx ends the load and the faults as For does; the result follows.
func Run(ctx context.Context, o Options) error {
	if runtime.GOOS == "windows" {
		return &fault.Error{Code: "WB4901", What: "Windows cannot pause a process, which the demo does to the broker", Try: "run it in WSL"}
	}
	dir, err := os.MkdirTemp("", "waybill-demo-")
	if err != nil {
		return &fault.Error{Code: "WB4903", What: "no folder for the demo's databases", Why: err, Try: "set TMPDIR to a folder that can be written"}
	}
	defer os.RemoveAll(dir)
	alive, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	defer fail(nil)
	d := &demo{dir: dir, fail: fail, screen: newScreen(o)}
	result, err := d.run(ctx, alive, o.For)
	d.screen.close()
	if cause := context.Cause(alive); cause != nil {
		err = cause // a child that ended by itself explains whatever came after
	}
	if err != nil {
		return &fault.Error{Code: "WB5901", What: "the demo broke off", Why: err, Try: "run it again; if it stays, report it with this text"}
	}
	if o.JSON {
		err = json.NewEncoder(o.Out).Encode(result)
	} else {
		err = d.screen.summary(d.sides(), result)
	}
	return errors.Join(err, verdict(result))
}

func (d *demo) run(ctx, alive context.Context, length time.Duration) (Result, error) {
	defer d.end()
	if err := d.start(alive); err != nil {
		return Result{}, err
	}
	conn, js, err := connect(d.address)
	if err != nil {
		return Result{}, err
	}
	defer conn.Close()
	for _, s := range d.sides() {
		if err := s.openStream(alive, js); err != nil {
			return Result{}, err
		}
		go s.consume(alive)
	}

	busy, rest := context.WithCancel(ctx)
	context.AfterFunc(alive, rest)
	every := make(chan struct{})
	if length > 0 {
		time.AfterFunc(length, func() {
			select {
			case <-every:
				rest()
			case <-busy.Done():
			}
		})
	}
	var work sync.WaitGroup
	defer func() { rest(); work.Wait() }() // nobody starts a child behind end
	work.Go(func() { load(busy, d.sides()...) })
	work.Go(func() {
		if err := d.injectFaults(busy, func() { close(every) }); err != nil {
			d.fail(err)
		}
	})
	for pause := time.Duration(0); sleep(busy, pause); {
		began := time.Now()
		if err := d.show(alive); err != nil {
			return Result{}, err
		}
		pause = max(400*time.Millisecond, 20*time.Since(began)) // a long run has much to count
	}
	work.Wait()
	return d.settle(alive)
}

// settle lets everything work again, waits until both services have published what they still can, and counts.
func (d *demo) settle(alive context.Context) (Result, error) {
	alive, stop := signal.NotifyContext(alive, os.Interrupt) // the second Ctrl-C, the first has ended the load
	defer stop()
	d.screen.log("no more faults, everything works again: both may publish what they still can")
	ctx, cancel := context.WithTimeout(alive, healTime)
	defer cancel()
	for _, s := range d.sides() {
		s.service.stop(5 * time.Second)
	}
	for {
		c, err := d.waybill.counts(alive)
		if err == nil {
			err = d.show(alive)
		}
		if err != nil {
			return Result{}, err
		}
		if c.Lost == 0 || !sleep(ctx, 50*time.Millisecond) {
			break
		}
	}
	d.relay.stop(5 * time.Second)
	late, cancel := context.WithTimeout(alive, 5*time.Second)
	defer cancel()
	for _, s := range d.sides() {
		if err := s.caughtUp(late); err != nil {
			return Result{}, err
		}
	}
	return d.counts(alive)
}

func (d *demo) counts(ctx context.Context) (r Result, err error) {
	if r.DoubleWrite, err = d.double.counts(ctx); err == nil {
		r.Waybill, err = d.waybill.counts(ctx)
	}
	return r, err
}

func (d *demo) show(ctx context.Context) error {
	if !d.screen.live {
		return nil
	}
	r, err := d.counts(ctx)
	if err == nil {
		d.screen.show(d.sides(), r)
	}
	return err
}

// verdict is nil when the run shows that Waybill keeps its promise.
func verdict(r Result) error {
	switch w := r.Waybill; {
	case !w.kept():
		return &fault.Error{Code: "WB5902", What: fmt.Sprintf("Waybill broke its promise: %d lost, %d phantom, %d out of order", w.Lost, w.Phantom, w.OutOfOrder), Try: "report it with this text"}
	case r.DoubleWrite.Committed == 0 || r.DoubleWrite.Received == 0 || w.Committed == 0:
		return &fault.Error{Code: "WB5903", What: "the run proves nothing: a service published no message", Try: "let it run longer"}
	}
	return nil
}
