package events

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sourcegraph/conc/pool"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	// publishTimeout bounds one publication with all its attempts and reads.
	publishTimeout = 5 * time.Second
	// batchTimeout bounds an atomic batch, which a busy disk may hold up.
	batchTimeout = 10 * time.Second
	// attemptTimeout bounds one request to the server.
	attemptTimeout = 2 * time.Second

	// A server that syncs each write to disk takes about a millisecond for one
	// message and 20 to 40 for an atomic batch, whatever its size up to 1000.
	batchMin = 16
	// batchMax messages is what the server takes in a batch (ADR-50), batchBytes
	// keeps a batch of large messages from filling the connection's buffer.
	batchMax   = 1000
	batchBytes = 4 << 20
	// lagPatience is how often an answer that is older than what is known may
	// come from a replica that lags (ADR-31) before it is believed.
	lagPatience = 3
	// window is the number of single messages in flight, of different subjects.
	window = 64
)

// Publication is a change to be published.
type Publication struct {
	Change Change
	// Expect is the stream sequence of the message that the change replaces, 0
	// if the subject is empty. Nothing is stored over any other message.
	Expect uint64
	// ExpectTombstone says that the message to be replaced is a deletion, which
	// the server may have removed meanwhile because its time was over.
	ExpectTombstone bool
}

// Publish stores the changes, each as the new last message of its row, and
// returns their stream sequences in the same order. The rows must be distinct.
//
// A sequence of 0 means that the change is not known to be stored; the error
// then tells why, for one of them, a conflict before all others. It is
// ErrConflict, ErrUnclear, the server's refusal (a *jetstream.APIError, for
// instance of a full stream) or the error of Encode. A refusal of one change keeps
// none of the others from being stored; after an unclear outcome the rest is not
// tried.
func (s *Stream) Publish(ctx context.Context, changes []Publication) ([]uint64, error) {
	sequences := make([]uint64, len(changes))
	messages := make([]message, 0, len(changes))
	var refused error
	for i, p := range changes {
		m, err := s.message(p, &sequences[i])
		if err != nil {
			refused = err
			continue
		}
		messages = append(messages, m)
	}
	for chunk := range chunks(messages) {
		err := s.putChunk(ctx, chunk)
		if errors.Is(err, ErrUnclear) {
			return sequences, err
		}
		refused = slices.MaxFunc([]error{refused, err}, byWeight)
	}
	return sequences, refused
}

func (s *Stream) message(p Publication, stored *uint64) (message, error) {
	data, err := Encode(p.Change)
	if err != nil {
		return message{}, err
	}
	m := message{
		subject: ReservationSubject(p.Change.Reservation.Key()),
		data:    data,
		expect:  p.Expect,
		mayAge:  p.ExpectTombstone,
		stored:  stored,
	}
	if p.Change.Deleted() {
		m.ttl = s.tombstoneTTL
	}
	return m, nil
}

// PublishHeartbeat stores a heartbeat over the message with sequence expect
// and returns its sequence. Its errors are those of Publish; ErrConflict means
// that another publisher is at work for this source.
func (s *Stream) PublishHeartbeat(ctx context.Context, h Heartbeat, expect uint64) (uint64, error) {
	data, err := EncodeHeartbeat(h)
	if err != nil {
		return 0, err
	}
	return s.put(ctx, message{subject: SourceSubject(h.Source), data: data, expect: expect})
}

type message struct {
	subject string
	data    []byte
	expect  uint64
	mayAge  bool          // the message that is expected may have expired
	ttl     time.Duration // 0: for ever
	stored  *uint64       // where the sequence goes once it is known
}

// nats returns a message to send. Each attempt needs its own: the libraries
// write into the headers.
func (m message) nats(expect uint64) *nats.Msg {
	msg := nats.NewMsg(m.subject)
	msg.Data = m.data
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expect, 10))
	if m.ttl > 0 {
		msg.Header.Set(jetstream.MsgTTLHeader, m.ttl.String())
	}
	return msg
}

// chunks cuts messages into pieces of at most batchMax and about batchBytes.
func chunks(messages []message) func(yield func([]message) bool) {
	return func(yield func([]message) bool) {
		for len(messages) > 0 {
			n, size := 0, 0
			for n < len(messages) && n < batchMax && (n == 0 || size+len(messages[n].data) <= batchBytes) {
				size += len(messages[n].data)
				n++
			}
			if !yield(messages[:n]) {
				return
			}
			messages = messages[n:]
		}
	}
}

// putChunk stores messages of distinct subjects: many in one atomic batch, few
// side by side. A batch whose outcome is bad or unknown is gone through one by
// one, which finds out what is stored.
func (s *Stream) putChunk(ctx context.Context, messages []message) error {
	if len(messages) >= batchMin {
		err := s.putBatch(ctx, messages)
		if err == nil {
			return nil
		}
		s.statistics.failed(err)
		s.statistics.retries.Add(uint64(len(messages)))
	}
	refusals := make([]error, len(messages))
	p := pool.New().WithContext(ctx).WithMaxGoroutines(window).WithCancelOnError().WithFirstError()
	for i, m := range messages {
		p.Go(func(ctx context.Context) (err error) {
			*m.stored, err = s.put(ctx, m)
			if errors.Is(err, ErrUnclear) {
				return err // the server is away: the others need not find out, too
			}
			refusals[i] = err
			return nil
		})
	}
	if err := p.Wait(); err != nil {
		return err
	}
	return slices.MaxFunc(refusals, byWeight)
}

// byWeight orders errors by how much they tell the caller: a conflict, which
// says that his picture of the stream is wrong, above a refusal above none.
func byWeight(a, b error) int {
	weight := func(err error) int {
		switch {
		case err == nil:
			return 0
		case errors.Is(err, ErrConflict):
			return 2
		}
		return 1
	}
	return cmp.Compare(weight(a), weight(b))
}

// putBatch stores all messages or none.
func (s *Stream) putBatch(ctx context.Context, messages []message) error {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	msgs := make([]*nats.Msg, len(messages))
	for i, m := range messages {
		msgs[i] = m.nats(m.expect)
	}
	ack, err := jetstreamext.PublishMsgBatch(ctx, s.js, msgs)
	if err != nil {
		return fmt.Errorf("publish a batch of %d: %w", len(messages), err)
	}
	// The messages of a batch lie side by side; the acknowledgement names the last.
	for i, m := range messages {
		*m.stored = ack.Sequence - uint64(len(messages)-1-i)
	}
	return nil
}

// put stores one message. After an attempt that was refused or whose outcome
// is unknown it reads what the subject holds and decides by content: the
// message may have been stored though the answer was lost, and a second
// attempt must never overwrite what a third party stored meanwhile. An attempt
// that arrives late cannot win either, because its expectation is old by then.
func (s *Stream) put(ctx context.Context, m message) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()

	expect, older := m.expect, 0
	for wait := 25 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		seq, err := s.attempt(ctx, m, expect)
		if err == nil {
			return seq, nil
		}
		s.statistics.failed(err)
		if apiErr, ok := errors.AsType[*jetstream.APIError](err); ok && !wrongExpectation(apiErr) {
			return 0, fmt.Errorf("publish %s: %w", m.subject, err)
		}

		s.statistics.readBacks.Add(1)
		last, readErr := s.last(ctx, m.subject)
		switch {
		case errors.Is(readErr, jetstream.ErrMsgNotFound) && (m.mayAge || m.expect == 0):
			expect = 0
		case errors.Is(readErr, jetstream.ErrMsgNotFound) && older < lagPatience:
			older++
		case errors.Is(readErr, jetstream.ErrMsgNotFound):
			return 0, fmt.Errorf("publish %s over sequence %d: no message is there: %w", m.subject, m.expect, ErrConflict)
		case readErr != nil:
			err = errors.Join(err, readErr)
		case bytes.Equal(last.Data, m.data):
			return last.Sequence, nil
		case last.Sequence == m.expect:
			expect = m.expect
		case last.Sequence > m.expect || older >= lagPatience:
			return 0, fmt.Errorf("publish %s over sequence %d: sequence %d is there: %w", m.subject, m.expect, last.Sequence, ErrConflict)
		default:
			// Older than what we know: a replica that lags, or another stream.
			// Looking again tells them apart.
			older++
		}

		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("publish %s: %w: %w", m.subject, ErrUnclear, err)
		case <-time.After(wait):
			s.statistics.retries.Add(1)
		}
	}
}

func (s *Stream) attempt(ctx context.Context, m message, expect uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	// The library's own retry does not read back, so it is off.
	ack, err := s.js.PublishMsg(ctx, m.nats(expect), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func (s *Stream) last(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return s.stream.GetLastMsgForSubject(ctx, subject)
}

// wrongExpectation tells whether the server refused because the subject holds
// another message. A single server and a cluster have a code each for it.
func wrongExpectation(err *jetstream.APIError) bool {
	return err.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		err.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}
