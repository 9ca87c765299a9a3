package events

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// Stored is the message that the stream holds for one row.
type Stored struct {
	Sequence uint64
	Change   Change
	// Err tells why the message cannot be read; Change then holds no more than
	// the key. Whoever publishes the row replaces the message by its Sequence.
	Err error
}

// Replayed is what the stream holds for one source.
type Replayed struct {
	// Hosts maps a host_id to its message, deletions included.
	Hosts map[int64]Stored
	// Heartbeat is the last heartbeat, the zero value if there is none or if it
	// cannot be read, which HeartbeatErr then tells; HeartbeatSequence is its
	// sequence, 0 if there is none.
	Heartbeat         Heartbeat
	HeartbeatSequence uint64
	HeartbeatErr      error
}

// Replay reads what the stream holds for a source at the time of the call. It
// reads the server, not a cache, and so finds what was lost, purged or
// overwritten since the last time. progress is called at least every few seconds.
func (s *Stream) Replay(ctx context.Context, source string, progress func()) (Replayed, error) {
	all := Replayed{Hosts: make(map[int64]Stored)}
	err := reading{
		conn:    s.conn,
		filters: []string{ReservationsFilter(source), SourceSubject(source)},
		message: func(subject string, data []byte, header nats.Header, sequence uint64) error {
			if subject == SourceSubject(source) {
				all.HeartbeatSequence = sequence
				all.Heartbeat, all.HeartbeatErr = decodeHeartbeatMessage(source, data)
				return nil
			}
			key, err := parseReservationSubject(subject)
			if err != nil {
				return nil // nothing of ours is stored there, and no consumer reads it
			}
			stored := Stored{Sequence: sequence}
			stored.Change, stored.Err = decodeMessage(key, data, header)
			if stored.Err != nil {
				stored.Change = Change{Reservation: Reservation{Source: key.Source, HostID: key.HostID}}
			}
			all.Hosts[key.HostID] = stored
			return nil
		},
		caughtUp: func() error { return errEnough },
		alive:    progress,
	}.run(ctx)
	if err != nil {
		return Replayed{}, fmt.Errorf("replay source %s: %w", source, err)
	}
	return all, nil
}

// markerReason is set on messages that the server itself writes in the place
// of one that was removed (ADR-43). They have no body.
const markerReason = "Nats-Marker-Reason"

// decodeMessage reads a message from the subject of key.
func decodeMessage(key Key, data []byte, header nats.Header) (Change, error) {
	if reason := header.Get(markerReason); reason != "" {
		return Change{}, fmt.Errorf("the server removed the message (%s)", shorten(reason))
	}
	c, err := Decode(data)
	if err != nil {
		return Change{}, err
	}
	if c.Reservation.Key() != key {
		return Change{}, fmt.Errorf("the body speaks of source %q, host_id %d, the subject of another row",
			shorten(c.Reservation.Source), c.Reservation.HostID)
	}
	return c, nil
}

// decodeHeartbeatMessage reads a message from the subject of source.
func decodeHeartbeatMessage(source string, data []byte) (Heartbeat, error) {
	h, err := DecodeHeartbeat(data)
	if err == nil && h.Source != source {
		return Heartbeat{}, fmt.Errorf("the body speaks of source %q, the subject of another one", shorten(h.Source))
	}
	return h, err
}
