// Package waybill publishes messages to a broker exactly when, and only when, the database transaction that caused them
// commits: the transactional outbox.
//
// # Publish
//
// A message is a row that Publish writes in your own transaction. Commit, and it reaches the broker; roll back, and it
// never existed. No broker is needed to commit, and nothing waits for one.
//
//	outbox, err := waybill.New(waybill.Config{Dialect: dialect.Postgres})
//
//	tx, err := db.BeginTx(ctx, nil)
//	_, err = tx.ExecContext(ctx, `INSERT INTO orders ...`)
//	err = outbox.Publish(ctx, waybill.SQL(tx), waybill.Message{
//		Topic: "orders", Key: order.ID, Type: "order.created", Payload: body,
//	})
//	err = tx.Commit()
//
// [SQL] takes a transaction of database/sql, [Pgx] one of pgx; both work inside savepoints. A pool or a connection does
// not compile. Whoever wants one round trip less takes the statement from [Outbox.Statement] and sends it in a batch of
// their own. [Typed] publishes values of a Go type as JSON.
//
// Messages are checked where you can still roll back: [Limits] are what every broker accepts, and each fault is a
// [*FieldError] that says field, value, limit and what to do.
//
// The tables come from package schema, or from the command waybill migrate up:
//
//	applied, err := schema.Apply(ctx, db, dialect.Postgres)
//
// Producers in other languages write the same table by SQL: docs/sql-contract.md.
//
// # Order
//
// Messages of one [Message.Key] reach the broker in the order in which their transactions committed, whatever fails in
// between; a message without a key is free of order. Two transactions that publish the same key, overlap, and share no
// lock of their own have no order to keep. Config.KeyLock gives them one.
//
// # Relay
//
// A relay reads committed messages and publishes them. It runs in your process, or as the command waybill run:
//
//	r, err := relay.New(relay.Config{Name: "orders", Source: source, Store: source, Sink: sink})
//	err = r.Run(ctx) // until ctx ends
//
// Sources are in the modules source/postgres, source/sqlite and source/flagged, sinks in sink/jetstream. Any number of
// processes may run the same relay: one works, another takes over when it dies. Give the relay's Wake to Config.Wake when
// both live in one process, and it looks at once instead of at its next poll.
//
// # Traces and metrics
//
// Config.Tracer lets a message carry the trace of the request that published it; relay.Config.Observer is told of every
// send. Module telemetry implements both, for OpenTelemetry and Prometheus.
//
// # Duplicates
//
// Delivery is at least once: after a crash a message may come again, with the same ID. docs/guarantees.md says what is
// promised, and what each promise needs.
package waybill
