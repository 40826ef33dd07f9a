package demo

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// request is one registration that a client asks for.
type request struct {
	number       int64
	customer     int32
	email        string
	publishFirst bool // which of the two orders of the double write the endpoint has
}

func (r request) path() string {
	order := "commit-then-publish"
	if r.publishFirst {
		order = "publish-then-commit"
	}
	return fmt.Sprintf("/%s?request=%d&customer=%d&email=%s", order, r.number, r.customer, r.email)
}

func parse(r *http.Request) (request, error) {
	q := r.URL.Query()
	number, err := strconv.ParseInt(q.Get("request"), 10, 64)
	if err != nil {
		return request{}, err
	}
	customer, err := strconv.ParseInt(q.Get("customer"), 10, 32)
	return request{number, int32(customer), q.Get("email"), r.URL.Path == "/publish-then-commit"}, err
}

// publisher tells others about a registration. The two services differ in nothing else.
type publisher interface {
	insideTransaction(ctx context.Context, tx *sql.Tx, r request, e entry) error
	afterCommit(ctx context.Context, r request, e entry) error
	close()
}

// runService serves registrations on the listener that the demo hands down: requests wait there while the service is dead.
func runService(ctx context.Context, name, dir, address string) error {
	db, err := openDatabase(dir, name)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // SQLite has one writer: waiting here is cheaper than at its lock
	open := openDoubleWrite
	if name == withWaybill {
		open = openWaybill
	}
	p, err := open(address)
	if err != nil {
		return err
	}
	defer p.close()
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, err := parse(r)
		if err == nil {
			err = register(r.Context(), db, p, request)
		}
		switch {
		case errors.Is(err, errTaken):
			http.Error(w, err.Error(), http.StatusConflict)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})}
	stopped := context.AfterFunc(ctx, func() {
		late, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		server.Shutdown(late)
	})
	defer stopped()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

var errTaken = errors.New("the mail address is taken")

// register is the business: a row with the customer's next version, then the mail address, which may be taken.
func register(ctx context.Context, db *sql.DB, p publisher, r request) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after the commit
	e := entry{Request: r.number, Customer: r.customer}
	err = tx.QueryRowContext(ctx, `INSERT INTO registration (request, customer, version)
		SELECT ?1, ?2, 1 + coalesce(max(version), 0) FROM registration WHERE customer = ?2 RETURNING version`,
		r.number, r.customer).Scan(&e.Version)
	if err != nil {
		return err
	}
	if err := p.insideTransaction(ctx, tx, r, e); err != nil {
		return err
	}
	if done, err := tx.ExecContext(ctx, "INSERT INTO email (address) VALUES (?) ON CONFLICT DO NOTHING", r.email); err != nil {
		return err
	} else if n, err := done.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, errTaken)
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return p.afterCommit(ctx, r, e)
}

// doubleWriter writes the broker itself. It is no straw man: it waits for the broker's confirmation, tries again, and
// sets the id by which the broker drops duplicates.
type doubleWriter struct {
	conn *nats.Conn
	js   jetstream.JetStream
}

func openDoubleWrite(address string) (publisher, error) {
	conn, js, err := connect(address)
	return &doubleWriter{conn, js}, err
}

func (d *doubleWriter) insideTransaction(ctx context.Context, _ *sql.Tx, r request, e entry) error {
	if !r.publishFirst {
		return nil
	}
	return d.publish(ctx, e)
}

func (d *doubleWriter) afterCommit(ctx context.Context, r request, e entry) error {
	if r.publishFirst {
		return nil
	}
	return d.publish(ctx, e)
}

func (d *doubleWriter) publish(ctx context.Context, e entry) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	for range 3 {
		attempt, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		_, err = d.js.Publish(attempt, doubleWrite+subjectSuffix, data, jetstream.WithMsgID(strconv.FormatInt(e.Request, 10)))
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

func (d *doubleWriter) close() {
	d.conn.FlushTimeout(2 * time.Second) // what waited for a reconnection
	d.conn.Close()
}

// connect returns a connection that survives any outage of the broker, one at the start too.
func connect(address string) (*nats.Conn, jetstream.JetStream, error) {
	conn, err := nats.Connect("nats://"+address, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // by default it prints, into the live view
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(conn)
	return conn, js, err
}
