package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/schema"
)

func (d *demo) sides() []*side { return []*side{d.double, d.waybill} }

// start makes the databases and starts every child.
func (d *demo) start(ctx context.Context) (err error) {
	if d.address, err = freeAddress(); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	child := func(name, dir string, files ...*os.File) *process {
		return &process{name: name, exe: exe, args: []string{name, dir, d.address}, files: files, failed: d.fail}
	}
	d.broker = child(brokerChild, filepath.Join(d.dir, "broker"))
	d.relay = child(relayChild, d.dir)
	d.double, d.waybill = &side{name: doubleWrite}, &side{name: withWaybill}
	for _, s := range d.sides() {
		if err := s.listen(); err != nil {
			return err
		}
		s.service = child(s.name, d.dir, s.listener)
		if s.db, err = openDatabase(d.dir, s.name); err != nil {
			return err
		}
		if _, err := s.db.ExecContext(ctx, tables); err != nil {
			return fmt.Errorf("make the tables of the service %s: %w", s.name, err)
		}
	}
	if _, err := schema.Apply(ctx, d.waybill.db, dialect.SQLite); err != nil {
		return err
	}
	for _, p := range []*process{d.broker, d.double.service, d.waybill.service, d.relay} {
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

// end ends every child, however far start came.
func (d *demo) end() {
	if d.double == nil {
		return
	}
	kill(d.double.service, d.waybill.service, d.relay, d.broker)
	for _, s := range d.sides() {
		s.close()
	}
}

// freeAddress finds a port for the broker below those that a system gives to clients: while the broker is stopped, no
// connection of anybody may come to stand on its port.
func freeAddress() (string, error) {
	var err error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		l, listenErr := net.Listen("tcp", address)
		if listenErr == nil {
			return address, l.Close()
		}
		err = listenErr
	}
	return "", err
}
