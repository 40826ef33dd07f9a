package demo

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// faults counts what was done, to both services alike.
type faults struct{ stopped, slow, crashed, killed, relayKilled int }

// injectFaults makes one fault after the other, at random moments, until ctx ends; then everything is healed. It calls
// every once when each fault has happened.
func (d *demo) injectFaults(ctx context.Context, every func()) error {
	episodes := []func(context.Context) error{d.killServices, d.stopBroker, d.killRelay, d.slowBroker, d.killServices, d.crashBroker}
	for round := 0; ; round++ {
		for _, episode := range episodes {
			if !sleep(ctx, between(150, 500)) {
				return nil
			}
			if err := episode(ctx); err != nil {
				return err
			}
		}
		if round == 0 {
			every()
		}
		rand.Shuffle(len(episodes), func(i, j int) { episodes[i], episodes[j] = episodes[j], episodes[i] })
	}
}

// killServices kills both services at one moment, whatever they are doing, and starts them again.
func (d *demo) killServices(context.Context) error {
	d.screen.fault(func(f *faults) { f.killed++ }, "both services killed (kill -9), started again")
	kill(d.double.service, d.waybill.service)
	if err := d.double.service.start(); err != nil {
		return err
	}
	return d.waybill.service.start()
}

func (d *demo) killRelay(context.Context) error {
	d.screen.fault(func(f *faults) { f.relayKilled++ }, "Waybill's relay killed (kill -9), started again")
	kill(d.relay)
	return d.relay.start()
}

func (d *demo) stopBroker(ctx context.Context) error {
	d.screen.fault(func(f *faults) { f.stopped++ }, "broker stopped")
	d.broker.stop(5 * time.Second)
	sleep(ctx, between(300, 700))
	err := d.killServices(ctx)
	sleep(ctx, between(100, 600))
	d.screen.log("broker started")
	return errors.Join(err, d.broker.start())
}

// slowBroker lets the broker run for a few milliseconds in every hundred.
func (d *demo) slowBroker(ctx context.Context) error {
	d.screen.fault(func(f *faults) { f.slow++ }, "broker slow")
	killAt := rand.IntN(6)
	var err error
	for i := range 8 {
		d.broker.signal(pause)
		sleep(ctx, 90*time.Millisecond)
		if i == killAt {
			err = d.killServices(ctx)
		}
		d.broker.signal(resume)
		sleep(ctx, 10*time.Millisecond)
	}
	d.screen.log("broker fast again")
	return err
}

// crashBroker hangs the broker and kills it in that state, with everything in its sockets.
func (d *demo) crashBroker(ctx context.Context) error {
	d.screen.fault(func(f *faults) { f.crashed++ }, "broker hangs")
	d.broker.signal(pause)
	sleep(ctx, between(200, 800))
	d.screen.log("broker killed (kill -9), started again")
	kill(d.broker)
	return d.broker.start()
}

func between(low, high int) time.Duration {
	return time.Duration(low+rand.IntN(high-low)) * time.Millisecond
}
