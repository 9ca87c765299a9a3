package events

import (
	"errors"
	"fmt"
	"time"
)

// Heartbeat is what a publisher says of its source, on kea.sources.<source>:
// that it is alive, how far the stream is, and whether nothing is missing.
//
// It is stored behind the changes that it speaks of and nothing else is in
// flight then, so at its place in the stream the number of live reservations
// of the source is Hosts. A consumer that counts another number has not seen
// everything.
type Heartbeat struct {
	Source string
	// Database tells one database from another: system identifier of the
	// PostgreSQL cluster, "/", name of the database.
	Database string
	// Timeline is PostgreSQL's timeline; a promoted standby has a higher one.
	Timeline int64
	// Epoch is new for each leadership of a publisher and each refill of the
	// stream. A consumer that meets another epoch replays the stream.
	Epoch string
	// Hosts is the number of live reservations.
	Hosts int
	// Complete says that the database was compared with the stream in this
	// epoch, and the stream made equal to it.
	Complete bool
	// Retired says that a person took the source out of service for good: no
	// publisher goes on with it, and this is its last heartbeat, or the last but
	// one. Complete with it says that every reservation of the source is gone
	// from the stream. DrainedAt is then that of its last publisher.
	Retired bool
	// DrainedAt is the time, by the clock of the database, at which the
	// database was as the stream now is.
	DrainedAt time.Time
	// At is the time of the heartbeat by the clock of the publisher.
	At time.Time
	// Outbox says that the publisher learns of changes from the outbox. Without
	// it a change may be published a minute late, DrainedAt moves on as slowly,
	// and Changes have no Seq. It is for publishers: once it was said of a source,
	// one that finds no outbox refuses to go on, unless it was told to.
	Outbox bool
}

// wireHeartbeat is the JSON form of a Heartbeat, under the rules of wireChange.
type wireHeartbeat struct {
	V         int       `json:"v"`
	Source    string    `json:"source"`
	Database  string    `json:"database"`
	Timeline  int64     `json:"timeline"`
	Epoch     string    `json:"epoch"`
	Hosts     int       `json:"hosts"`
	Complete  bool      `json:"complete"`
	Retired   bool      `json:"retired,omitzero"`
	DrainedAt time.Time `json:"drained_at"`
	At        time.Time `json:"at"`
	Outbox    bool      `json:"outbox,omitzero"`
}

// EncodeHeartbeat returns the wire form of h, or an error if h is not valid.
func EncodeHeartbeat(h Heartbeat) ([]byte, error) {
	w := wireHeartbeat{
		V: Version, Source: h.Source, Database: h.Database, Timeline: h.Timeline,
		Epoch: h.Epoch, Hosts: h.Hosts, Complete: h.Complete, Retired: h.Retired,
		DrainedAt: h.DrainedAt.UTC().Truncate(time.Microsecond),
		At:        h.At.UTC().Truncate(time.Microsecond),
		Outbox:    h.Outbox,
	}
	if err := w.check(); err != nil {
		return nil, fmt.Errorf("encode heartbeat: %w", err)
	}
	return marshal(w)
}

// DecodeHeartbeat reads the wire form. Unknown fields are ignored; the error
// names the field and the value.
func DecodeHeartbeat(data []byte) (Heartbeat, error) {
	var w wireHeartbeat
	if err := unmarshal(data, &w); err != nil {
		return Heartbeat{}, fmt.Errorf("decode heartbeat: %w", err)
	}
	if err := w.check(); err != nil {
		return Heartbeat{}, fmt.Errorf("decode heartbeat: %w", err)
	}
	return Heartbeat{
		Source: w.Source, Database: w.Database, Timeline: w.Timeline, Epoch: w.Epoch,
		Hosts: w.Hosts, Complete: w.Complete, Retired: w.Retired,
		DrainedAt: w.DrainedAt.UTC(), At: w.At.UTC(), Outbox: w.Outbox,
	}, nil
}

func (w wireHeartbeat) check() error {
	switch {
	case w.V != Version:
		return fmt.Errorf("v: version %d is not known to this program, which reads version %d; update it", w.V, Version)
	case w.Database == "":
		return errors.New("database: is missing")
	case w.Epoch == "":
		return errors.New("epoch: is missing")
	case w.Hosts < 0:
		return fmt.Errorf("hosts: %d is negative", w.Hosts)
	case w.DrainedAt.IsZero():
		return errors.New("drained_at: is missing")
	}
	return CheckSource(shorten(w.Source))
}
