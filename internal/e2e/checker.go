// Package e2e checks the whole system from the outside: whatever happened
// before, when all is quiet the stream must equal the rows of Kea's tables, and
// DNS and the cabinet files must equal what follows from the rows.
//
// The Checker works all of it out by itself, from Kea's tables, with code that
// shares nothing with the services. The tests of this package build the real
// programs and run them against a real PostgreSQL, a real nats-server and the
// SOLIDserver simulator; the demonstration program uses the Checker as well.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/solidsim"
)

// Checker compares the parts of one running system. Its methods belong to one
// goroutine.
type Checker struct {
	// DSN leads to Kea's database, with the right to read Kea's tables.
	DSN string
	// NATS is connected to the server that holds the stream; nil leaves the
	// stream out.
	NATS *nats.Conn
	// Source is the name of the database in the stream.
	Source string
	// View is what a consumer made of the stream; nil leaves it out.
	View *events.View

	// Records returns what DNS holds in the scope that is written; nil leaves
	// DNS out.
	Records func() []solidsim.Record
	// Types are the types of records that are written, of A, AAAA and PTR; nil
	// means A. A PTR is expected for every address whose type is among them.
	Types []string
	// Zone is the zone that short names belong to.
	Zone string
	// Reverse are the zones that records of type PTR are written into.
	Reverse []string
	// TTL is that of our records in seconds; 0 means any.
	TTL int
	// Foreign are the records that were there before or came from other hands.
	// They must be there unchanged, and no other without our mark. It does not
	// matter whether they have the mark: somebody may have copied it.
	Foreign []solidsim.Record
	// Beside allows records of ours beside a foreign one of the name. They stay
	// when it came later than they did, and are never added.
	Beside bool
	// Skip tells which names are left out, but for their foreign records; nil
	// means none.
	Skip func(name string) bool

	// Dir is the directory of the cabinet files; "" leaves them out.
	Dir string
}

// Await checks until everything is as it must be, or ctx ends; it then returns
// the differences of the last look.
func (c *Checker) Await(ctx context.Context) error {
	const pause = 50 * time.Millisecond
	for {
		err := c.Check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the system does not become consistent: %w", err)
		case <-time.After(pause):
		}
	}
}

// Check returns the differences between the rows and what follows from them,
// joined, at most 20 of each kind, or nil if there is none. The system must be quiet: what is under way
// counts as a difference.
func (c *Checker) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	hosts, err := c.readHosts(ctx)
	if err != nil {
		return err
	}
	var errs []error
	if c.NATS != nil {
		errs = append(errs, c.checkStream(ctx, hosts))
	}
	if c.View != nil {
		errs = append(errs, first(c.checkView(hosts)))
	}
	if c.Records != nil {
		errs = append(errs, first(c.checkDNS(hosts)))
	}
	if c.Dir != "" {
		errs = append(errs, first(c.checkFiles(hosts)))
	}
	return errors.Join(errs...)
}

// first joins the first 20 differences.
func first(errs []error) error {
	const most = 20
	if len(errs) > most {
		errs = append(errs[:most:most], fmt.Errorf("and %d more", len(errs)-most))
	}
	return errors.Join(errs...)
}

// host is a row of Kea's tables.
type host struct {
	id             int64
	identifier     string // hex
	identifierType int
	subnet4        *int64
	subnet6        *int64
	hostname       string
	ip             netip.Addr // zero: none, or out of range
	v6             []string   // addresses as stored
}

func (c *Checker) readHosts(ctx context.Context) ([]host, error) {
	conn, err := pgx.Connect(ctx, c.DSN)
	if err != nil {
		return nil, fmt.Errorf("read Kea's tables: %w", err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `
		SELECT h.host_id::bigint, encode(h.dhcp_identifier, 'hex'), h.dhcp_identifier_type::int,
		       h.dhcp4_subnet_id, h.dhcp6_subnet_id, coalesce(h.hostname, ''), coalesce(h.ipv4_address, 0),
		       ARRAY(SELECT split_part(r.address::text, '/', 1) FROM ipv6_reservations r
		              WHERE r.host_id = h.host_id AND r.type = 0)
		  FROM hosts h ORDER BY h.host_id`)
	if err != nil {
		return nil, fmt.Errorf("read Kea's tables: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (host, error) {
		var h host
		var ip int64
		err := row.Scan(&h.id, &h.identifier, &h.identifierType, &h.subnet4, &h.subnet6, &h.hostname, &ip, &h.v6)
		if 0 < ip && ip < 1<<32 {
			h.ip = netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)})
		}
		return h, err
	})
}
