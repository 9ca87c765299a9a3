package eventstest

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/nats-io/nats.go"
)

// Source publishes as a publisher would, without a database: a test says what
// the rows are and how the database's clock stands. It belongs to one
// goroutine.
type Source struct {
	// Now is the clock of the database. Each event takes it forward by a
	// millisecond; a test may set it.
	Now time.Time
	// Epoch stands in the heartbeats.
	Epoch string

	t         testing.TB
	name      string
	stream    *events.Stream
	rows      map[int64]events.Stored
	heartbeat uint64
	seq       int64
}

// NewSource opens the stream, creating it if need be, and goes on from what it
// holds for the source.
func NewSource(t testing.TB, conn *nats.Conn, name string) *Source {
	t.Helper()
	s := &Source{t: t, name: name, Now: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), Epoch: "epoch-1"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.stream = Open(t, conn, events.StreamConfig{})
	replayed, err := s.stream.Replay(ctx, name, func() {})
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	s.rows, s.heartbeat = replayed.Hosts, replayed.HeartbeatSequence
	return s
}

// Open opens the stream, creating it if need be. It tries for a while: a server
// removes the files of a deleted stream in the background, and cannot create
// the stream anew until they are gone.
func Open(t testing.TB, conn *nats.Conn, cfg events.StreamConfig) *events.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		s, err := events.OpenStream(ctx, conn, cfg)
		if err == nil {
			return s
		}
		select {
		case <-ctx.Done():
			t.Fatalf("open stream: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Reservation returns a reservation with a hw-address made from id, in subnet 1.
// An empty ip means none.
func Reservation(source string, id int64, hostname, ip string) events.Reservation {
	mac := []byte{0x02, 0, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}
	r := events.Reservation{
		Source: source, HostID: id, Hostname: hostname,
		Identifier: fmt.Sprintf("%x", mac), IdentifierType: "hw-address",
		MAC: events.MAC("hw-address", mac), Subnet4: new(int64(1)),
	}
	if ip != "" {
		r.IP = netip.MustParseAddr(ip)
	}
	return r
}

// Put publishes the reservations as inserted or updated.
func (s *Source) Put(rs ...events.Reservation) {
	s.t.Helper()
	changes := make([]events.Change, len(rs))
	for i, r := range rs {
		r.Source = s.name
		op := events.Update
		if old, ok := s.rows[r.HostID]; !ok || old.Change.Deleted() {
			op = events.Insert
		}
		changes[i] = events.Change{Operation: op, Reservation: r}
	}
	s.publish(changes)
}

// Delete publishes the rows as deleted.
func (s *Source) Delete(ids ...int64) {
	s.t.Helper()
	changes := make([]events.Change, len(ids))
	for i, id := range ids {
		old, ok := s.rows[id]
		if !ok {
			s.t.Fatalf("host %d was never published", id)
		}
		changes[i] = events.Change{Operation: events.Delete, Reservation: old.Change.Reservation}
	}
	s.publish(changes)
}

// Beat takes the clock forward and publishes a heartbeat of a complete source.
func (s *Source) Beat(forward time.Duration) {
	s.t.Helper()
	s.Now = s.Now.Add(forward)
	s.BeatAs(events.Heartbeat{Complete: true, Hosts: s.Live()})
}

// BeatAs publishes a heartbeat with the given Complete and Hosts.
func (s *Source) BeatAs(hb events.Heartbeat) {
	s.t.Helper()
	hb.Source, hb.Database, hb.Timeline, hb.Epoch = s.name, "7000000000000000000/kea", 1, s.Epoch
	hb.DrainedAt, hb.At = s.Now, s.Now
	seq, err := s.stream.PublishHeartbeat(s.t.Context(), hb, s.heartbeat)
	if err != nil {
		s.t.Fatalf("publish heartbeat: %v", err)
	}
	s.heartbeat = seq
}

// Retire publishes what `keastream-publisher retire` does: a heartbeat that
// keeps publishers out, all rows as deleted, and the last heartbeat.
func (s *Source) Retire() {
	s.t.Helper()
	s.Epoch = "retired-1"
	s.BeatAs(events.Heartbeat{Retired: true, Hosts: s.Live()})
	var live []int64
	for id, stored := range s.rows {
		if !stored.Change.Deleted() {
			live = append(live, id)
		}
	}
	s.Delete(live...)
	s.Epoch = "retired-2"
	s.BeatAs(events.Heartbeat{Retired: true, Complete: true})
}

// Live returns the number of rows that exist.
func (s *Source) Live() int {
	n := 0
	for _, stored := range s.rows {
		if !stored.Change.Deleted() {
			n++
		}
	}
	return n
}

func (s *Source) publish(changes []events.Change) {
	s.t.Helper()
	pubs := make([]events.Publication, len(changes))
	for i := range changes {
		s.seq++
		s.Now = s.Now.Add(time.Millisecond)
		changes[i].Seq, changes[i].At = s.seq, s.Now
		pubs[i] = events.Publication{
			Change:          changes[i],
			Expect:          s.rows[changes[i].Reservation.HostID].Sequence,
			ExpectTombstone: s.rows[changes[i].Reservation.HostID].Change.Deleted(),
		}
	}
	sequences, err := s.stream.Publish(s.t.Context(), pubs)
	if err != nil {
		s.t.Fatalf("publish: %v", err)
	}
	for i, seq := range sequences {
		s.rows[changes[i].Reservation.HostID] = events.Stored{Sequence: seq, Change: changes[i]}
	}
}
