package solidsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"github.com/sourcegraph/conc"
)

// A nameserver answers for the zones of one DNS server, or of one of its views,
// on one address, by UDP and TCP. It knows these by name: they may be loaded
// anew while it runs. One that is not there any more refuses all queries.
type nameserver struct {
	store *store
	name  string // server, or server/view
	addr  string
	udp   *dns.Server
	tcp   *dns.Server
}

// Limits of the answers. The UDP size is the one that DNS Flag Day 2020 asks
// for.
const (
	maxChain       = 8
	maxUDP         = 1232 // bytes
	negativeTTL    = 60   // seconds, of NXDOMAIN and NODATA answers
	listenAttempts = 20
)

// listenDNS opens the two sockets. With port 0 both get the same free port.
func listenDNS(ctx context.Context, st *store, name, addr string) (*nameserver, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("DNS address of %s: %w", name, err)
	}
	var config net.ListenConfig
	for attempt := 1; ; attempt++ {
		listener, err := config.Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listen for DNS of %s: %w", name, err)
		}
		_, tcpPort, _ := net.SplitHostPort(listener.Addr().String())
		packets, err := config.ListenPacket(ctx, "udp", net.JoinHostPort(host, tcpPort))
		if err != nil {
			_ = listener.Close()
			if port == "0" && attempt < listenAttempts {
				continue // the port is taken for UDP: try another one
			}
			return nil, fmt.Errorf("listen for DNS of %s: %w", name, err)
		}
		ns := &nameserver{store: st, name: name, addr: listener.Addr().String()}
		ns.udp = &dns.Server{PacketConn: packets, Handler: ns}
		ns.tcp = &dns.Server{Listener: listener, Handler: ns}
		return ns, nil
	}
}

// serve starts both servers and returns when they answer or gave up. The errors of those
// that end by themselves go to failed.
func (ns *nameserver) serve(tasks *conc.WaitGroup, failed func(error)) {
	for _, srv := range []*dns.Server{ns.udp, ns.tcp} {
		started, ended := make(chan struct{}), make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		tasks.Go(func() {
			defer close(ended)
			if err := srv.ActivateAndServe(); err != nil {
				failed(fmt.Errorf("serve DNS of %s: %w", ns.name, err))
			}
		})
		select {
		case <-started:
		case <-ended:
		}
	}
}

func (ns *nameserver) close(ctx context.Context) error {
	return errors.Join(ns.udp.ShutdownContext(ctx), ns.tcp.ShutdownContext(ctx))
}

// ServeDNS answers one query.
func (ns *nameserver) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	reply := ns.reply(query)
	if w.LocalAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := query.IsEdns0(); opt != nil {
			size = min(max(int(opt.UDPSize()), dns.MinMsgSize), maxUDP)
		}
		reply.Truncate(size)
	}
	_ = w.WriteMsg(reply) // a client that went away asks again
}

func (ns *nameserver) reply(query *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(query)
	reply.Compress = true
	if opt := query.IsEdns0(); opt != nil {
		reply.SetEdns0(maxUDP, false)
		if opt.Version() != 0 {
			reply.Rcode = dns.RcodeBadVers
			return reply
		}
	}
	switch {
	case query.Opcode != dns.OpcodeQuery:
		reply.Rcode = dns.RcodeNotImplemented
	case len(query.Question) != 1:
		reply.Rcode = dns.RcodeFormatError
	case query.Question[0].Qclass != dns.ClassINET,
		query.Question[0].Qtype == dns.TypeAXFR, query.Question[0].Qtype == dns.TypeIXFR:
		reply.Rcode = dns.RcodeRefused
	default:
		ns.resolve(reply, query.Question[0])
	}
	return reply
}

// resolve is the algorithm of RFC 1034 4.3.2 for one level of authority:
// CNAMEs are followed as long as they stay in zones of this server and view.
func (ns *nameserver) resolve(reply *dns.Msg, q dns.Question) {
	defer ns.store.read()()
	s, v := ns.store.addressee(ns.name)
	var seen []string
	for name := plainName(q.Name); len(seen) < maxChain && !slices.Contains(seen, name); {
		z := ns.store.liveZone(s, v, name)
		if z == nil {
			if len(seen) == 0 {
				reply.Rcode = dns.RcodeRefused
			}
			return
		}
		seen = append(seen, name)
		reply.Authoritative = true
		answers, target, exists := ns.store.answers(z, name, q.Qtype)
		reply.Answer = append(reply.Answer, answers...)
		if target == "" {
			if len(answers) == 0 {
				reply.Ns = append(reply.Ns, z.soa(negativeTTL))
				if !exists {
					reply.Rcode = dns.RcodeNameError
				}
			}
			return
		}
		name = target
	}
}

// addressee returns the server and the view that answer under a name. The view
// of a server with one view is that one.
func (m *model) addressee(name string) (*server, *view) {
	serverName, viewName, given := strings.Cut(name, "/")
	s := m.server(serverName)
	if s == nil {
		return nil, nil
	}
	if given {
		return s, m.view(s, viewName)
	}
	if views := m.viewsOf(s); len(views) > 0 {
		return s, views[0]
	}
	return s, nil
}

// answers returns the records at a name that a question asks for, the target
// to go on with if they are a CNAME, and whether the name exists. A CNAME hides
// what stands beside it.
func (m *model) answers(z *zone, name string, qtype uint16) (answers []dns.RR, target string, exists bool) {
	at := place{z.server, z.view, name}
	records := m.records(z, at)
	exists = m.nodes[at] > 0 || name == z.name
	for _, record := range records {
		if cname, is := record.(*dns.CNAME); is && qtype != dns.TypeCNAME && qtype != dns.TypeANY {
			return []dns.RR{cname}, plainName(cname.Target), true
		}
	}
	for _, record := range records {
		if record.Header().Rrtype == qtype || qtype == dns.TypeANY {
			answers = append(answers, record)
		}
	}
	return answers, "", exists
}

// records are all that stands at a place. The SOA is always that of the zone. A
// zone that was added below another one hides what that has at its names.
func (m *model) records(z *zone, at place) []dns.RR {
	var records []dns.RR
	apex, hasNS := at.name == z.name, false
	for _, r := range m.served[at] {
		if r.rtype == "SOA" || r.zone != z {
			continue
		}
		hasNS = hasNS || r.rtype == "NS"
		records = append(records, r.wire())
	}
	if apex && !hasNS {
		records = append(records, z.ns())
	}
	if apex {
		records = append(records, z.soa(defaultTTL))
	}
	return records
}

// plainName is a name as the store keeps it.
func plainName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func (z *zone) soa(ttl uint32) dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: dns.Fqdn(z.name), Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  dns.Fqdn(z.server.name), Mbox: "hostmaster." + dns.Fqdn(z.name),
		Serial: z.serial, Refresh: 1200, Retry: 600, Expire: 1209600, Minttl: negativeTTL,
	}
}

func (z *zone) ns() dns.RR {
	return &dns.NS{
		Hdr: dns.RR_Header{Name: dns.Fqdn(z.name), Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: defaultTTL},
		Ns:  dns.Fqdn(z.server.name),
	}
}
