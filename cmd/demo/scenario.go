package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/miekg/dns"
	"github.com/nats-io/nats.go"
	"github.com/sourcegraph/conc/pool"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/solidsim"
)

// step is one statement and what must come of it.
type step struct {
	title string
	sql   string
	host  string // the name that the statement is about
	dns   string // the address that the name has afterwards, "" for none
	dns6  string // and the IPv6 address
	file  string // the address in the cabinet file, "" for none
	freed string // the address that has no name any more, "" if there is none
}

// insert is the statement that operators of the replaced system know from its
// guide.
func insert(host, identifier, ip string) string {
	return fmt.Sprintf("INSERT INTO hosts (dhcp_identifier_type, dhcp_identifier, dhcp4_subnet_id, ipv4_address, hostname) "+
		"VALUES (1, decode('%s', 'hex'), 1, ('%s'::inet - '0.0.0.0'::inet), '%s');", identifier, ip, host)
}

// byHand are records that a person has put into DNS before: one has the name of
// a reservation to come, the other one the address of a reservation.
var byHand = []solidsim.Record{
	{Name: "us3-cab10-ru22-idrac.site.com", Type: "A", Value: "192.0.2.22", TTL: 3600},
	{Name: "jumphost.site.com", Type: "A", Value: "172.30.19.42", TTL: 3600},
}

var steps = []step{
	{title: "Reservation 1 of 4", sql: insert("us3-cab10-ru15-ilo", "aabbccdd0015", "172.30.19.43"), host: "us3-cab10-ru15-ilo", dns: "172.30.19.43", file: "172.30.19.43"},
	{title: "Reservation 2 of 4", sql: insert("us3-cab10-ru16-ilo", "aabbccdd0016", "172.30.19.53"), host: "us3-cab10-ru16-ilo", dns: "172.30.19.53", file: "172.30.19.53"},
	{title: "Reservation 3 of 4", sql: insert("us3-cab10-ru17-idrac", "aabbccdd0017", "172.30.19.42"), host: "us3-cab10-ru17-idrac", dns: "172.30.19.42", file: "172.30.19.42"},
	{title: "Reservation 4 of 4", sql: insert("us3-cab10-ru18-idrac", "aabbccdd0018", "172.30.19.48"), host: "us3-cab10-ru18-idrac", dns: "172.30.19.48", file: "172.30.19.48"},
	{title: "One more, as an operator makes it: us3-cab10-ru20-idrac", sql: insert("us3-cab10-ru20-idrac", "aabbccddeeff", "172.30.19.100"), host: "us3-cab10-ru20-idrac", dns: "172.30.19.100", file: "172.30.19.100"},
	{title: "And another one: us3-cab10-ru21-idrac", sql: insert("us3-cab10-ru21-idrac", "aabbccddee00", "172.30.19.101"), host: "us3-cab10-ru21-idrac", dns: "172.30.19.101", file: "172.30.19.101"},
	{title: "An IPv6 address for us3-cab10-ru20-idrac",
		sql:  "INSERT INTO ipv6_reservations (address, prefix_len, type, host_id) SELECT '2001:db8::100', 128, 0, host_id FROM hosts WHERE hostname = 'us3-cab10-ru20-idrac';",
		host: "us3-cab10-ru20-idrac", dns: "172.30.19.100", dns6: "2001:db8::100", file: "172.30.19.100"},
	{title: "The address changes: the record moves",
		sql:  "UPDATE hosts SET ipv4_address = ('172.30.19.110'::inet - '0.0.0.0'::inet) WHERE hostname = 'us3-cab10-ru20-idrac';",
		host: "us3-cab10-ru20-idrac", dns: "172.30.19.110", dns6: "2001:db8::100", file: "172.30.19.110"},
	{title: "A name that a person has put into DNS by hand: DNS is left alone",
		sql: insert("us3-cab10-ru22-idrac", "aabbccdd0022", "172.30.19.122"), host: "us3-cab10-ru22-idrac", dns: "192.0.2.22", file: "172.30.19.122"},
	{title: "A deletion: acted upon after the hold-down of 10 s, since Kea itself writes an update as deletion and insertion",
		sql: "DELETE FROM hosts WHERE hostname = 'us3-cab10-ru21-idrac';", host: "us3-cab10-ru21-idrac", freed: "172.30.19.101"},
}

// show runs the scenario and checks the whole system; unless once, it then
// stays until ctx ends.
func show(ctx context.Context, s *e2e.Stack, once bool) error {
	for _, r := range byHand {
		if err := s.Sim.Add(solidsim.InternalServer, r); err != nil {
			return err
		}
	}
	conn, err := pgx.Connect(ctx, s.PG.DSN(e2e.Database, pgtest.Kea))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	messages, err := s.NATS.SubscribeSync("kea.reservations.>")
	if err != nil {
		return err
	}
	if err := s.NATS.Flush(); err != nil {
		return err
	}
	for _, st := range steps {
		if err := st.run(ctx, s, conn, messages); err != nil {
			return fmt.Errorf("%s: %w", st.host, err)
		}
	}
	if err := restart(ctx, s); err != nil {
		return err
	}
	if err := check(ctx, s); err != nil {
		return err
	}
	if once {
		return nil
	}
	return stay(ctx, s)
}

// run executes the statement and awaits its effects, all at once, each with the
// time since the commit.
func (st step) run(ctx context.Context, s *e2e.Stack, conn *pgx.Conn, messages *nats.Subscription) error {
	fmt.Printf("\n%s\n  kea=> %s\n", st.title, st.sql)
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	tag, err := conn.Exec(ctx, st.sql)
	if err != nil {
		return err
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("the statement changed %d rows, want 1", tag.RowsAffected())
	}
	committed := time.Now()
	var terminal sync.Mutex
	effects := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	await := func(name string, effect func(context.Context) (string, error)) {
		effects.Go(func(ctx context.Context) error {
			what, err := effect(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			after := time.Since(committed)
			terminal.Lock()
			defer terminal.Unlock()
			fmt.Printf("  %8.1f ms  %-6s  %s\n", float64(after.Microseconds())/1000, name, what)
			return nil
		})
	}
	await("stream", func(ctx context.Context) (string, error) { return st.inStream(ctx, messages) })
	server := s.Sim.DNSAddr(solidsim.InternalServer)
	await("DNS", func(ctx context.Context) (string, error) { return st.inDNS(ctx, server) })
	for _, addr := range []string{st.dns, st.dns6} {
		if addr != "" && st.file == st.dns { // not where DNS has what a person put there
			await("PTR", func(ctx context.Context) (string, error) { return st.inReverse(ctx, server, addr) })
		}
	}
	if st.freed != "" {
		await("PTR", func(ctx context.Context) (string, error) { return freed(ctx, server, st.freed) })
	}
	await("file", func(ctx context.Context) (string, error) { return st.inFile(ctx, s.OutputDir) })
	return effects.Wait()
}

func (st step) inStream(ctx context.Context, messages *nats.Subscription) (string, error) {
	for {
		msg, err := messages.NextMsgWithContext(ctx)
		if err != nil {
			return "", err
		}
		if strings.Contains(string(msg.Data), `"`+st.host+`"`) {
			return msg.Subject + " " + string(msg.Data), nil
		}
	}
}

func (st step) inDNS(ctx context.Context, server string) (string, error) {
	name := st.host + "." + e2e.Zone
	for qtype, addr := range map[uint16]string{dns.TypeA: st.dns, dns.TypeAAAA: st.dns6} {
		if err := awaitAnswer(ctx, server, name, qtype, addr); err != nil {
			return "", err
		}
	}
	switch {
	case st.dns == "":
		return name + " is gone", nil
	case st.dns6 != "":
		return name + " A " + st.dns + ", AAAA " + st.dns6, nil
	}
	return name + " A " + st.dns, nil
}

func (st step) inReverse(ctx context.Context, server, addr string) (string, error) {
	reverse, err := dns.ReverseAddr(addr)
	if err != nil {
		return "", err
	}
	name := st.host + "." + e2e.Zone
	return addr + " PTR " + name, awaitAnswer(ctx, server, reverse, dns.TypePTR, dns.Fqdn(name))
}

// freed waits until the address has no PTR record.
func freed(ctx context.Context, server, addr string) (string, error) {
	reverse, err := dns.ReverseAddr(addr)
	if err != nil {
		return "", err
	}
	return addr + " has no PTR record", awaitAnswer(ctx, server, reverse, dns.TypePTR, "")
}

// awaitAnswer waits until the name server gives one record with the value, or
// none for "".
func awaitAnswer(ctx context.Context, server, name string, qtype uint16, want string) error {
	var got []string
	err := poll(ctx, func() (bool, error) {
		answer, err := dns.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype), server)
		if err != nil {
			return false, err
		}
		got = nil
		for _, rr := range answer.Answer {
			switch rr := rr.(type) {
			case *dns.A:
				got = append(got, rr.A.String())
			case *dns.AAAA:
				got = append(got, rr.AAAA.String())
			case *dns.PTR:
				got = append(got, rr.Ptr)
			}
		}
		return want == "" && len(got) == 0 || slices.Equal(got, []string{want}), nil
	})
	if err != nil {
		return fmt.Errorf("%s has %v, want %q: %w", name, got, want, err)
	}
	return nil
}

func (st step) inFile(ctx context.Context, dir string) (string, error) {
	const name = "us3-cab10-discovery.yml"
	err := poll(ctx, func() (bool, error) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			return st.file == "", nil
		}
		text := string(data)
		if !strings.Contains(text, `"`+st.host+`"`) {
			return st.file == "", err
		}
		return st.file != "" && strings.Contains(text, `"`+st.file+`"`), err
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", name, err)
	case st.file == "":
		return name + " has lost the line", nil
	}
	return name + " has " + st.host + " with " + st.file, nil
}

// poll looks every other millisecond until done.
func poll(ctx context.Context, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// restart shows that a consumer needs no state: started anew it changes nothing.
func restart(ctx context.Context, s *e2e.Stack) error {
	fmt.Println("\nThe DNS writer is stopped and started")
	if err := s.DNSWriter.Stop(); err != nil {
		return err
	}
	s.Sim.ResetCalls()
	if err := s.DNSWriter.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := s.DNSWriter.AwaitReady(ctx); err != nil {
		return err
	}
	err := poll(ctx, func() (bool, error) {
		return strings.Contains(s.DNSWriter.LogTail(), "DNS consistency check complete: 0 records created"), nil
	})
	if err != nil {
		return fmt.Errorf("the restarted DNS writer does not say that it created nothing: %w", err)
	}
	calls := s.Sim.Calls()
	if calls.Writes != 0 {
		return fmt.Errorf("the restarted DNS writer made %d writing calls", calls.Writes)
	}
	fmt.Printf("  \"DNS consistency check complete: 0 records created\", after %d reading calls and no writing one\n", calls.Total)
	return nil
}

// check compares stream, DNS and files with the rows.
func check(ctx context.Context, s *e2e.Stack) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := s.Checker(byHand...).Await(ctx); err != nil {
		return err
	}
	fmt.Println("\nChecked: stream, DNS and files equal the rows of Kea's tables, and what was put into DNS by hand is untouched.")
	return nil
}
