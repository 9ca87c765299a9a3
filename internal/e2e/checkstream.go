package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/pkg/events"
)

// checkStream compares the last message of every subject with the rows.
func (c *Checker) checkStream(ctx context.Context, hosts []host) error {
	stream, err := c.readStream(ctx)
	if err != nil {
		return err
	}
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf("stream: "+format, args...)) }
	if hb := stream.heartbeat; !hb.Complete || hb.Hosts != len(hosts) {
		report("the heartbeat says complete %v with %d hosts, want true with %d", hb.Complete, hb.Hosts, len(hosts))
	}
	for _, h := range hosts {
		m, ok := stream.hosts[h.id]
		delete(stream.hosts, h.id)
		switch {
		case !ok:
			report("nothing of host %d", h.id)
		case m.Deleted():
			report("host %d is deleted, and the row exists", h.id)
		default:
			if diff := h.differs(m.Reservation); diff != "" {
				report("host %d: %s", h.id, diff)
			}
		}
	}
	for id, m := range stream.hosts {
		if !m.Deleted() {
			report("host %d has no row: %+v", id, m.Reservation)
		}
	}
	return first(errs)
}

// checkView compares what a consumer sees with the rows. A complete source is
// part of it: without one nothing may ever be removed.
func (c *Checker) checkView(hosts []host) (errs []error) {
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf("view: "+format, args...)) }

	for _, h := range hosts {
		m, ok := c.View.Last(events.Key{Source: c.Source, HostID: h.id})
		switch {
		case !ok || m.Deleted():
			report("host %d is not there", h.id)
		default:
			if diff := h.differs(m.Reservation); diff != "" {
				report("host %d: %s", h.id, diff)
			}
		}
	}
	if s, _ := c.View.Source(c.Source); !s.Complete || s.Live != len(hosts) {
		report("the source has %d hosts and is complete: %v, want %d and true", s.Live, s.Complete, len(hosts))
	}
	return errs
}

// differs says in what the published state differs from the row.
func (h host) differs(r events.Reservation) string {
	var v6 []string
	for _, text := range h.v6 {
		if a, err := netip.ParseAddr(text); err == nil {
			v6 = append(v6, a.String())
		}
	}
	var published []string
	for _, a := range r.IPv6 {
		published = append(published, a.String())
	}
	slices.Sort(v6)
	slices.Sort(published)
	switch {
	case r.Hostname != h.hostname:
		return fmt.Sprintf("hostname is %q, want %q", r.Hostname, h.hostname)
	case r.IP != h.ip:
		return fmt.Sprintf("ip is %v, want %v", r.IP, h.ip)
	case !slices.Equal(published, slices.Compact(v6)):
		return fmt.Sprintf("ipv6 is %v, want %v", published, v6)
	case r.Identifier != h.identifier[:min(len(h.identifier), 2*events.MaxIdentifier)]:
		return fmt.Sprintf("identifier is %.40q, want %.40q", r.Identifier, h.identifier)
	case r.IdentifierType != events.IdentifierType(h.identifierType):
		return fmt.Sprintf("identifier type is %q, want %d", r.IdentifierType, h.identifierType)
	case !equal(r.Subnet4, h.subnet4) || !equal(r.Subnet6, h.subnet6):
		return "the subnets differ"
	}
	return ""
}

func equal(a, b *int64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

type storedStream struct {
	hosts     map[int64]events.Change
	heartbeat events.Heartbeat
}

// readStream asks for the last message of each subject, one by one: another way
// than that of the services, which follow a consumer.
func (c *Checker) readStream(ctx context.Context) (storedStream, error) {
	got := storedStream{hosts: make(map[int64]events.Change)}
	js, err := jetstream.New(c.NATS)
	if err != nil {
		return got, fmt.Errorf("stream: %w", err)
	}
	stream, err := js.Stream(ctx, events.StreamName)
	if err != nil {
		return got, fmt.Errorf("stream: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(events.AllSubjects))
	if err != nil {
		return got, fmt.Errorf("stream: %w", err)
	}
	for subject, n := range info.State.Subjects {
		if n != 1 {
			return got, fmt.Errorf("stream: %d messages on %s, want 1", n, subject)
		}
		msg, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return got, fmt.Errorf("stream: %s: %w", subject, err)
		}
		if subject == events.SourceSubject(c.Source) {
			if got.heartbeat, err = events.DecodeHeartbeat(msg.Data); err != nil {
				return got, fmt.Errorf("stream: %s: %w", subject, err)
			}
			continue
		}
		change, err := events.Decode(msg.Data)
		if err != nil {
			return got, fmt.Errorf("stream: %s: %w", subject, err)
		}
		r := change.Reservation
		if subject != events.ReservationSubject(r.Key()) {
			return got, fmt.Errorf("stream: %s holds host %d of source %s", subject, r.HostID, r.Source)
		}
		if r.Source == c.Source {
			got.hosts[r.HostID] = change
		}
	}
	return got, nil
}
