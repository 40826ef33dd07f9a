package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/relay"
)

// rangeReader reads a range. It waits for nothing: what the positions see was durable before it was first read.
type rangeReader struct {
	*session
	rows *snapshot.RangeReader
	life context.Context // ends with Close
	end  context.CancelFunc
}

var _ relay.Ranger = (*Source)(nil)

// OpenRange implements relay.Ranger, on a session of its own.
func (s *Source) OpenRange(ctx context.Context, from, to relay.Position, topic string) (relay.Reader, error) {
	session, err := openSession(ctx, s.db, s.q)
	if err != nil {
		return nil, wrap("open a session", err)
	}
	r, err := s.readRange(ctx, session, from, to, topic)
	if err != nil {
		return nil, errors.Join(err, session.close())
	}
	return r, nil
}

func (s *Source) readRange(ctx context.Context, session *session, from, to relay.Position, topic string) (*rangeReader, error) {
	s.mu.Lock()
	reader, known := s.reader, s.timeline
	s.mu.Unlock()
	if reader == nil {
		return nil, errors.New("waybill: WB1014 a range is asked for without an open reader")
	}
	if err := reader.unbroken(ctx); err != nil {
		return nil, err
	}
	log, err := s.identify(ctx, session.conn)
	if err != nil {
		return nil, err
	}
	if log.timeline != known { // the positions may lie in what this server has lost
		return nil, fmt.Errorf("waybill: WB1027 the server that answers is on timeline %d, the relay reads from one on timeline %d", log.timeline, known)
	}
	session.incarnation = log.incarnation
	behind, err := parse(from)
	if err != nil {
		return nil, err
	}
	upTo, err := parse(to)
	if err != nil {
		return nil, err
	}
	rows, err := snapshot.NewRange(session, behind, upTo, topic)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	return &rangeReader{session: session, rows: rows, life: life, end: end}, nil
}

// unbroken tells whether the session that gave the positions lives after the range's has begun: then no crash lies between,
// which would have given the numbers that they know to other transactions.
func (s *session) unbroken(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout) // an end of ctx must not end the session
	defer cancel()
	return s.check(ctx)
}

// Read implements relay.Reader.
func (r *rangeReader) Read(ctx context.Context, budget relay.Budget) (relay.Batch, error) {
	if err := ctx.Err(); err != nil {
		return relay.Batch{}, err
	}
	query, cancel := patient(ctx, r.life)
	defer cancel()
	batch, end, err := r.rows.Next(query, budget)
	if err == nil {
		err = r.check(query)
	}
	if err == nil && end {
		err = io.EOF
	}
	return batch, err
}

// Close implements relay.Reader.
func (r *rangeReader) Close() error {
	r.end()
	return r.session.close()
}
