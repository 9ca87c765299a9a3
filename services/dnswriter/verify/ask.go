package verify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// An outcome is what came of asking one server. They are the label result of a
// metric, so there are few.
type outcome string

const (
	agrees       outcome = "agrees"         // the answer is as it should be
	other        outcome = "other data"     // records of the type, but not this one
	noData       outcome = "no data"        // the name is there, but has no record of the type
	noName       outcome = "no name"        // NXDOMAIN
	alias        outcome = "alias"          // there is a CNAME at the name
	stillThere   outcome = "still there"    // what was removed
	lame         outcome = "lame"           // the server does not serve the zone
	failing      outcome = "failing"        // it serves the zone, but cannot answer now
	noAnswer     outcome = "no answer"      // nothing came in time, or nobody listens
	badAnswer    outcome = "no true answer" // what came is no answer to the question
	maxUDPAnswer         = 1232             // bytes, as DNS Flag Day 2020 wants it
)

// A finding is what one server says, with a sentence for people.
type finding struct {
	outcome outcome
	reason  string
}

func found(o outcome, format string, args ...any) finding {
	return finding{o, fmt.Sprintf(format, args...)}
}

// ask asks one server for a record, by UDP and, if the answer does not fit, by TCP.
// The whole takes at most twice the time-out.
func ask(ctx context.Context, server string, rec dns.Record, gone bool, timeout time.Duration) finding {
	rtype, known := wire.StringToType[string(rec.Type)]
	if !known {
		return found(badAnswer, "records of type %s cannot be asked for", rec.Type)
	}
	query := new(wire.Msg).SetQuestion(wire.Fqdn(rec.Name), rtype)
	query.RecursionDesired = false
	query.SetEdns0(maxUDPAnswer, false)
	reply, err := exchange(ctx, "udp", server, query, timeout)
	if err == nil && reply.Rcode == wire.RcodeFormatError && reply.IsEdns0() == nil {
		query.Extra = nil // a server that does not know EDNS (RFC 6891, section 7)
		reply, err = exchange(ctx, "udp", server, query, timeout)
	}
	if err == nil && reply.Truncated {
		if reply, err = exchange(ctx, "tcp", server, query, timeout); err == nil && reply.Truncated {
			return found(badAnswer, "the answer by TCP is cut off")
		}
	}
	var netErr net.Error
	switch {
	case errors.As(err, &netErr) && netErr.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return found(noAnswer, "no answer within %s", timeout)
	case errors.As(err, &netErr):
		return found(noAnswer, "no answer: %v", err)
	case err != nil:
		return found(badAnswer, "no answer that can be read: %v", err)
	}
	return judge(reply, rec, rtype, gone)
}

// exchange sends a query and reads its answer. A cancelled context ends it.
func exchange(ctx context.Context, network, server string, query *wire.Msg, timeout time.Duration) (*wire.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client := &wire.Client{Net: network, Timeout: timeout, UDPSize: maxUDPAnswer}
	conn, err := client.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	query.Id = wire.Id()
	reply, _, err := client.ExchangeWithConnContext(ctx, query, conn)
	switch {
	case err != nil:
		return nil, err
	case !reply.Response || !answers(reply, query.Question[0]):
		return nil, errors.New("it belongs to another question")
	}
	return reply, nil
}

// answers tells whether a message is an answer to the question. One that says no
// may come without it, when the server has not even read that far.
func answers(reply *wire.Msg, question wire.Question) bool {
	if len(reply.Question) == 0 {
		return reply.Rcode != wire.RcodeSuccess && reply.Rcode != wire.RcodeNameError
	}
	got := reply.Question[0]
	return len(reply.Question) == 1 &&
		strings.EqualFold(got.Name, question.Name) && got.Qtype == question.Qtype && got.Qclass == question.Qclass
}

// judge says what an answer means for a record. Of what is in it only the records
// of the very name count: a server follows an alias to others.
func judge(reply *wire.Msg, rec dns.Record, rtype uint16, gone bool) finding {
	switch {
	case reply.Rcode == wire.RcodeRefused, reply.Rcode == wire.RcodeNotAuth, reply.Rcode == wire.RcodeNotZone:
		return found(lame, "it refuses to answer for the zone (%s)", rcode(reply))
	case reply.Rcode != wire.RcodeSuccess && reply.Rcode != wire.RcodeNameError:
		return found(failing, "it answers %s", rcode(reply))
	case !reply.Authoritative:
		return found(lame, "it answers without authority for the zone")
	}
	var target string
	var values []string
	for _, rr := range reply.Answer {
		if dns.CanonicalName(rr.Header().Name) != rec.Name || rr.Header().Class != wire.ClassINET {
			continue
		}
		if cname, ok := rr.(*wire.CNAME); ok && rtype != wire.TypeCNAME {
			target = dns.CanonicalName(cname.Target)
		}
		if rr.Header().Rrtype == rtype {
			values = append(values, value(rr))
		}
	}
	for _, v := range values {
		switch {
		case v == rec.Value && gone:
			return found(stillThere, "it still answers with %s", rec.Value)
		case v == rec.Value:
			return finding{outcome: agrees}
		}
	}
	switch {
	case gone:
		return finding{outcome: agrees}
	case target != "":
		return found(alias, "there is an alias to %s", bounded(target))
	case len(values) > 0:
		return found(other, "it answers with %s", several(values))
	case reply.Rcode == wire.RcodeNameError:
		return found(noName, "it says that there is no such name (NXDOMAIN)")
	default:
		return found(noData, "it says that the name has no record of type %s", rec.Type)
	}
}

// value is what a record says, in the form of package dns.
func value(rr wire.RR) string {
	switch rr := rr.(type) {
	case *wire.A:
		return canonical(dns.A, rr.A.String())
	case *wire.AAAA:
		return canonical(dns.AAAA, rr.AAAA.String())
	case *wire.PTR:
		return dns.CanonicalName(rr.Ptr)
	case *wire.CNAME:
		return dns.CanonicalName(rr.Target)
	}
	return ""
}

func canonical(t dns.Type, text string) string {
	v, err := dns.CanonicalValue(t, text)
	if err != nil { // an IPv4 address in an AAAA record, for example
		return text
	}
	return v
}

func rcode(reply *wire.Msg) string {
	if name, ok := wire.RcodeToString[reply.Rcode]; ok {
		return name
	}
	return fmt.Sprintf("code %d", reply.Rcode)
}

// several names a few of the values that a server answers with.
func several(values []string) string {
	const most = 4
	var shown []string
	for _, v := range values[:min(most, len(values))] {
		shown = append(shown, bounded(v))
	}
	if len(values) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(shown, ", "), len(values)-most)
	}
	return strings.Join(shown, ", ")
}

// bounded is text of a name server, which may hold anything.
func bounded(text string) string {
	const most = 255
	if len(text) > most {
		text = text[:most] + "…"
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Sprintf("%q", text)
	}
	return text
}
