package soak

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/pkg/events"
)

// row is a row by chance.
func (s *strike) row() (int64, error) {
	return s.world.ask(s.ctx, fmt.Sprintf(`SELECT coalesce((SELECT host_id FROM hosts ORDER BY host_id
		OFFSET %d %% greatest((SELECT count(*) FROM hosts), 1) LIMIT 1), 0)`, s.random.Int64N(1<<40)))
}

func subject(host int64) string {
	return events.ReservationSubject(events.Key{Source: source, HostID: host})
}

// purge takes a row by chance out of the stream and returns it, 0 if that is not
// possible at the moment.
func (s *strike) purge() (host int64) {
	host, err := s.row()
	if err != nil || host == 0 {
		return 0
	}
	stream, err := s.stream()
	if err != nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(s.ctx, 5*second)
	defer cancel()
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject(host))); err != nil {
		return 0
	}
	s.observer.forget(host)
	s.times.noteHost(host, "FAULT", "purged")
	return host
}

// stream is what the stream is at the moment.
func (s *strike) stream() (jetstream.Stream, error) {
	js, err := jetstream.New(s.world.nats)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, 5*second)
	defer cancel()
	return js.Stream(ctx, events.StreamName)
}

// purgeSubject takes one row out of the stream. The publisher learns of it by a
// comparison, which it is asked for in the place of the hourly one.
func purgeSubject(s *strike) (bool, error) {
	s.compare.Store(true)
	return s.until(func() bool { return s.purge() != 0 }), nil
}

// loseMessage takes one row out of the stream while the publisher is not
// connected, as a server that lost what it had acknowledged. No row changes
// meanwhile: the publisher has to find out by itself. The other one is kept from
// taking over: it could have compared everything a moment before.
func loseMessage(s *strike) (bool, error) {
	p, err := s.remote()
	if err != nil || p == nil {
		return false, err
	}
	s.gate.Lock()
	defer s.gate.Unlock()
	var host int64
	lose := func() (err error) {
		_, err = s.on(p.nats, func(r *route) error {
			r.cut()
			if r == p.nats[len(p.nats)-1] {
				host = s.purge()
			}
			return nil
		})
		return err
	}
	if err := s.cutOff(s.otherThan(p).pg, lose); err != nil || host == 0 {
		return false, err
	}
	for deadline := time.Now().Add(recoverLimit); ; pause(s.ctx, 100*time.Millisecond) {
		stream, err := s.stream()
		if err == nil {
			_, err = stream.GetLastMsgForSubject(s.ctx, subject(host))
		}
		switch {
		case err == nil, s.ctx.Err() != nil:
			return err == nil, nil
		case time.Now().After(deadline):
			return true, broken(fmt.Errorf("host %d was lost from the stream while the publisher was not connected, and is not back after %v: %w", host, recoverLimit, err))
		}
	}
}

// vandalize puts a message of a stranger over one of the publisher's, and
// changes the row, so that the publisher meets it.
func vandalize(s *strike) (bool, error) {
	host, err := s.row()
	if err != nil || host == 0 {
		return false, err
	}
	js, err := jetstream.New(s.world.nats)
	if err != nil {
		return false, err
	}
	body := []byte(garbage)
	if s.random.IntN(2) == 0 {
		body, err = events.Encode(events.Change{
			Operation: events.Update, Seq: 1 << 50, At: time.Now(),
			Reservation: events.Reservation{Source: source, HostID: host, Hostname: stranger + "in-the-night"},
		})
		if err != nil {
			return false, err
		}
	}
	s.compare.Store(true)
	s.steady.excuse() // whoever believes the stranger may remove the record of the row
	ctx, cancel := context.WithTimeout(s.ctx, 5*second)
	defer cancel()
	if _, err := js.Publish(ctx, subject(host), body); err != nil {
		return false, fmt.Errorf("overwrite host %d: %w", host, err)
	}
	s.times.noteHost(host, "FAULT", "overwritten with %.40q", body)
	return true, s.world.exec(s.ctx, pgtest.Kea, fmt.Sprintf(`UPDATE hosts SET dhcp4_subnet_id = `+sqlVersion+` WHERE host_id = %d`, host))
}

func deleteStream(s *strike) (bool, error) {
	js, err := jetstream.New(s.world.nats)
	if err != nil {
		return false, err
	}
	return s.until(func() bool {
		ctx, cancel := context.WithTimeout(s.ctx, 5*second)
		defer cancel()
		return js.DeleteStream(ctx, events.StreamName) == nil
	}), nil
}

// truncate does it several times: one mark alone may be read by a comparison that
// happens to be due, and then tells nothing of how marks without a row are read.
func truncate(s *strike) (bool, error) {
	for range 3 {
		s.steady.excuse()
		if !s.until(func() bool { return s.world.exec(s.ctx, pgtest.Kea, `TRUNCATE hosts CASCADE`) == nil }) {
			return false, nil
		}
		pause(s.ctx, 1500*time.Millisecond)
	}
	return true, nil
}
