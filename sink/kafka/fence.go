package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fence publishes under a transactional id, one transaction at a time: at most one batch of each partition, stored together.
// A transaction that fails is never mended. It is aborted, which the coordinator allows only under the newest epoch, and the
// next one begins with a new epoch: what is still under way of the old one is refused.
type fence struct {
	sink *Sink

	// Guarded by Sink.mu.
	tenure  int   // grows with each Fence
	taken   int   // the tenure for which the id was taken, whoever had it
	lost    error // somebody else took it
	ready   []*partition
	running bool

	// Of the goroutine that runs.
	id    int64
	epoch int16
	open  bool // a transaction may be open
	spent bool // the epoch must not be used again
}

// transactionTime is how long a transaction that nobody ends holds up those who read only what is committed.
const transactionTime = time.Minute

// wake starts the goroutine. Called with Sink.mu held.
func (f *fence) wake() {
	if !f.running && len(f.ready) > 0 {
		f.running = true
		f.sink.background.Go(f.run)
	}
}

func (f *fence) run() {
	s := f.sink
	for {
		s.mu.Lock()
		r, done := f.collect()
		f.running = r != nil
		tenure := f.tenure
		s.mu.Unlock()
		settle(done)
		if r == nil {
			return
		}
		faults, err := f.transact(r, tenure)
		s.mu.Lock()
		s.unregister(r)
		done = f.finish(r, faults, err)
		s.mu.Unlock()
		settle(done)
	}
}

// collect makes a transaction of what is ready, nil if nothing is. Called with Sink.mu held.
func (f *fence) collect() (*request, []outcome) {
	var failed []outcome
	r := &request{}
	ready := f.ready
	f.ready = nil
	for _, p := range ready {
		p.ready = false
		failed = append(failed, p.prepare()...)
		switch {
		case p.batch == nil:
		case f.lost != nil:
			failed = append(failed, p.give(f.lost)...)
			p.wake()
		case p.leader < 0:
			f.sink.lookUp(p.topic)
			f.sink.again(p, errNoLeader(p))
		default:
			r.parts = append(r.parts, p)
		}
	}
	if len(r.parts) == 0 {
		if len(f.ready) > 0 {
			more, rest := f.collect()
			return more, append(failed, rest...)
		}
		return nil, failed
	}
	f.sink.register(r)
	return r, failed
}

// finish tells what became of the batches: all are stored, or none. Called with Sink.mu held.
func (f *fence) finish(r *request, faults map[*partition]error, err error) (done []outcome) {
	s := f.sink
	if isFenced(err) && f.taken == f.tenure {
		f.lost = errFenced(err)
	}
	for _, p := range r.parts {
		b, why := p.batch, faults[p]
		b.bytes = nil // another epoch comes
		switch {
		case err == nil && len(faults) == 0:
			done = append(done, p.stored()...)
		case f.lost != nil:
			done = append(done, p.give(f.lost)...)
		case classOf(why) == tooMuch && len(b.entries) == 1:
			done = append(done, p.give(errRejected(p, b.entries[0], why, ""))...)
		case classOf(why) == topicFault:
			done = append(done, p.give(errForbidden(p.topic.name, why))...)
		case err != nil && !mayPass(err) && !isForgotten(err):
			done = append(done, p.give(err)...)
		case b.expired():
			done = append(done, p.give(errUnconfirmed(errors.Join(err, why), s.trouble.Load()))...)
		case classOf(why) == tooMuch:
			p.limit = len(b.entries) / 2
			p.queue = slices.Concat(b.entries, p.queue)
			p.forget()
		case why != nil: // its own trouble must not hold up the others
			s.lookUp(p.topic)
			s.again(p, errRefused(p, why, ""))
		default:
			b.state = due
		}
		p.wake()
	}
	return done
}

// transact stores the batches and commits, or says which of them failed, or why nothing works.
func (f *fence) transact(r *request, tenure int) (map[*partition]error, error) {
	renew := f.taken != tenure // only this goroutine changes taken
	if f.open && !renew {
		if err := f.try(r.ctx, "abort", func() error { return f.abort(r.ctx) }); err != nil {
			return nil, err
		}
	}
	if f.spent || renew {
		if err := f.try(r.ctx, "begin", func() error { return f.take(r.ctx, renew) }); err != nil {
			return nil, err
		}
		f.sink.mu.Lock()
		f.taken = tenure
		f.sink.mu.Unlock()
	}
	f.open, f.spent = true, true
	leaders := map[int32][]*partition{}
	f.sink.mu.Lock()
	for _, p := range r.parts {
		if !p.producer.known || p.producer.id != f.id || p.producer.epoch != f.epoch {
			p.producer = producer{id: f.id, epoch: f.epoch, transactional: true, known: true}
		}
		leaders[p.leader] = append(leaders[p.leader], p)
	}
	f.sink.mu.Unlock()
	var faults map[*partition]error
	err := f.try(r.ctx, "add partitions to", func() (err error) {
		faults, err = f.add(r)
		return err
	})
	if err != nil || len(faults) > 0 {
		return faults, err
	}
	if faults := f.produce(r, leaders); len(faults) > 0 {
		// Left open for transactionTime, it would cost us the id. If this fails, the next transaction does it.
		_ = f.abort(r.ctx)
		return faults, nil
	}
	if err = f.try(r.ctx, "commit", func() error { return f.end(r.ctx, true) }); err == nil {
		err = f.try(r.ctx, "see the end of", func() error { return f.completed(r.ctx) })
	}
	f.open, f.spent = err != nil, err != nil
	return nil, err
}

// try does one step, again and again while that may help and there is time.
func (f *fence) try(ctx context.Context, step string, do func() error) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		err := do()
		if err == nil {
			return nil
		}
		err = errTransaction(step, err)
		if !mayPass(err) {
			return err
		}
		f.sink.trouble.Store(&err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

func mayPass(err error) bool {
	var refused *kerr.Error
	if errors.As(err, &refused) {
		return refused.Retriable || refused == kerr.ConcurrentTransactions // the one before is still being completed
	}
	return !isLogin(err)
}

func isFenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// isForgotten tells that the coordinator has dropped the id, as it does after a week without a message, or has given it a
// successor: take finds out which.
func isForgotten(err error) bool { return errors.Is(err, kerr.InvalidProducerIDMapping) }

// take gets a new epoch of the id: unconditionally at the beginning of a tenure, else only from the one we have. Coordinators
// compare that one only while no transaction is open, and spend it if one is: abort goes before.
func (f *fence) take(ctx context.Context, renew bool) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &f.sink.config.TransactionalID
	req.TransactionTimeoutMillis = int32(transactionTime.Milliseconds())
	req.ProducerID, req.ProducerEpoch = -1, -1
	if !renew {
		req.ProducerID, req.ProducerEpoch = f.id, f.epoch
	}
	resp, err := req.RequestWith(ctx, f.sink.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if isForgotten(err) { // a coordinator that has dropped the id gives a new one, so this one goes by a successor
		err = kerr.ProducerFenced
	}
	if err != nil {
		return err
	}
	f.id, f.epoch, f.open, f.spent = resp.ProducerID, resp.ProducerEpoch, false, false
	return nil
}

// add makes the partitions part of the transaction, all or none. It returns those whose topic is at fault.
func (f *fence) add(r *request) (faults map[*partition]error, err error) {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = f.sink.config.TransactionalID, f.id, f.epoch
	numbers := map[string][]int32{}
	for _, p := range r.parts {
		numbers[p.topic.name] = append(numbers[p.topic.name], p.number)
	}
	for topic, list := range numbers {
		req.Topics = append(req.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: topic, Partitions: list})
	}
	resp, err := req.RequestWith(r.ctx, f.sink.client)
	if err != nil {
		return nil, err
	}
	faults = map[*partition]error{}
	for _, t := range resp.Topics {
		for _, a := range t.Partitions {
			why := kerr.ErrorForCode(a.ErrorCode)
			if why == kerr.UnknownTopicOrPartition || classOf(why) == topicFault {
				faults[r.part(t.Topic, a.Partition)] = why
			} else if why != nil && why != kerr.OperationNotAttempted { // as it is because of another partition
				err = fmt.Errorf("topic %q: %w", t.Topic, why)
			}
		}
	}
	if len(faults) > 0 {
		err = nil
	}
	return faults, err
}

func (r *request) part(topic string, number int32) *partition {
	for _, p := range r.parts {
		if p.topic.name == topic && p.number == number {
			return p
		}
	}
	return nil
}

func (f *fence) produce(r *request, leaders map[int32][]*partition) map[*partition]error {
	var all sync.WaitGroup
	var mu sync.Mutex
	faults := map[*partition]error{}
	for to, parts := range leaders {
		all.Go(func() {
			answers, err := f.sink.produce(&request{parts: parts, ctx: r.ctx}, to)
			mu.Lock()
			defer mu.Unlock()
			for _, p := range parts {
				answer, ok := answers[slot{p.topic.name, p.number}]
				why := kerr.ErrorForCode(answer.ErrorCode)
				switch {
				case err != nil:
					faults[p] = err
				case !ok:
					faults[p] = errSilent
				case why != nil && why != kerr.DuplicateSequenceNumber:
					faults[p] = why
				}
			}
		})
	}
	all.Wait()
	return faults
}

func (f *fence) abort(ctx context.Context) error {
	err := f.end(ctx, false)
	if err == kerr.InvalidTxnState || isForgotten(err) { // none is open, or it was committed and only the answer was lost
		err = nil
	}
	if err == nil {
		f.open = false
	}
	return err
}

func (f *fence) end(ctx context.Context, commit bool) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = f.sink.config.TransactionalID, f.id, f.epoch, commit
	resp, err := req.RequestWith(ctx, f.sink.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	return err
}

// completed waits until every partition knows that the transaction is committed. The coordinator answers a commit before that,
// and where it dies in between, its successor can take a partition that it has not heard of yet for one that was deleted:
// then the messages lie there and nobody who reads only what is committed ever sees them.
func (f *fence) completed(ctx context.Context) error {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{f.sink.config.TransactionalID}
	for {
		resp, err := req.RequestWith(ctx, f.sink.client)
		if err == nil && len(resp.TransactionStates) != 1 {
			err = errSilent
		}
		if err == nil {
			state := resp.TransactionStates[0]
			switch err = kerr.ErrorForCode(state.ErrorCode); {
			case err != nil || state.ProducerID == f.id && state.ProducerEpoch == f.epoch && state.State == "PrepareCommit":
			case state.ProducerID == f.id && state.ProducerEpoch == f.epoch && (state.State == "CompleteCommit" || state.State == "Empty"):
				return nil
			default:
				err = fmt.Errorf("it is in state %q of epoch %d: %w", state.State, state.ProducerEpoch, kerr.InvalidTxnState)
			}
		}
		if err != nil {
			return err
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
