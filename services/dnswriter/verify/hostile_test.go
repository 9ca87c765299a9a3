package verify_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/verify"
)

// serve starts a name server that answers by UDP and TCP as it is told, and returns
// its address.
func serve(t *testing.T, answer wire.HandlerFunc) string {
	t.Helper()
	var packets net.PacketConn
	var listener net.Listener
	for packets == nil {
		var err error
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if packets, err = net.ListenPacket("udp", listener.Addr().String()); err != nil {
			_ = listener.Close() // the port is taken for UDP
		}
	}
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	for _, server := range []*wire.Server{{PacketConn: packets, Handler: answer}, {Listener: listener, Handler: answer}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		all.Go(func() {
			if err := server.ActivateAndServe(); err != nil {
				t.Error(err)
			}
		})
		<-started
		t.Cleanup(func() {
			if err := server.Shutdown(); err != nil {
				t.Error(err)
			}
		})
	}
	return listener.Addr().String()
}

// says makes a server that answers with authority, changed as it is told, with
// records in the form of a zone file.
func says(change func(w wire.ResponseWriter, reply *wire.Msg), records ...string) wire.HandlerFunc {
	return func(w wire.ResponseWriter, query *wire.Msg) {
		reply := new(wire.Msg).SetReply(query)
		reply.Authoritative = true
		for _, text := range records {
			rr, err := wire.NewRR(text)
			if err != nil {
				panic(err)
			}
			reply.Answer = append(reply.Answer, rr)
		}
		if change != nil {
			change(w, reply)
		}
		_ = w.WriteMsg(reply)
	}
}

func rcode(code int) func(wire.ResponseWriter, *wire.Msg) {
	return func(_ wire.ResponseWriter, reply *wire.Msg) { reply.Rcode = code }
}

func byUDP(w wire.ResponseWriter) bool { return w.LocalAddr().Network() == "udp" }

// Each answer that is none has a reason of its own, when a record should be there
// and when it should not: a server that does not answer for the zone has not said
// that the record is gone.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const right = host + ". 600 IN A 172.30.19.42"
	for name, test := range map[string]struct {
		answer      wire.HandlerFunc
		there, gone string // the reason, "" if it agrees
	}{
		"right":             {says(nil, right), "", "still answers with 172.30.19.42"},
		"among others":      {says(nil, host+". 600 IN A 10.0.0.9", right), "", "still answers"},
		"in capitals":       {says(nil, strings.ToUpper(host)+". 600 IN A 172.30.19.42"), "", "still answers"},
		"with another TTL":  {says(nil, host+". 5 IN A 172.30.19.42"), "", "still answers"},
		"another address":   {says(nil, host+". 600 IN A 10.0.0.9"), "it answers with 10.0.0.9", ""},
		"many others":       {says(nil, host+". 600 IN A 10.0.0.1", host+". 600 IN A 10.0.0.2", host+". 600 IN A 10.0.0.3", host+". 600 IN A 10.0.0.4", host+". 600 IN A 10.0.0.5"), "and 1 more", ""},
		"of another name":   {says(nil, "x.site.com. 600 IN A 172.30.19.42"), "no record of type A", ""},
		"of another class":  {says(nil, host+". 600 CH A 172.30.19.42"), "no record of type A", ""},
		"nothing":           {says(nil), "no record of type A", ""},
		"no such name":      {says(rcode(wire.RcodeNameError)), "NXDOMAIN", ""},
		"alias":             {says(nil, host+". 600 IN CNAME y.site.com.", "y.site.com. 600 IN A 172.30.19.42"), "alias to y.site.com", ""},
		"refused":           {says(rcode(wire.RcodeRefused)), "refuses to answer for the zone (REFUSED)", "REFUSED"},
		"not authoritative": {says(func(_ wire.ResponseWriter, m *wire.Msg) { m.Authoritative = false }, right), "without authority", "without authority"},
		"no name, without authority": {says(func(_ wire.ResponseWriter, m *wire.Msg) {
			m.Authoritative, m.Rcode = false, wire.RcodeNameError
		}), "without authority", "without authority"},
		"failing":      {says(rcode(wire.RcodeServerFailure)), "it answers SERVFAIL", "SERVFAIL"},
		"strange code": {says(rcode(12)), "it answers code 12", "it answers code 12"},
		"of another question": {says(func(_ wire.ResponseWriter, m *wire.Msg) {
			m.Question[0].Name = "x.site.com."
		}, right), "another question", "another question"},
		"a question":         {says(func(_ wire.ResponseWriter, m *wire.Msg) { m.Response = false }, right), "another question", "another question"},
		"cut off by TCP too": {says(func(_ wire.ResponseWriter, m *wire.Msg) { m.Truncated = true }, right), "is cut off", "is cut off"},
		"cut off by UDP": {says(func(w wire.ResponseWriter, m *wire.Msg) {
			if byUDP(w) {
				m.Truncated, m.Answer = true, nil
			}
		}, right), "", "still answers"},
		"without EDNS": {func(w wire.ResponseWriter, query *wire.Msg) {
			if query.IsEdns0() != nil {
				_ = w.WriteMsg(new(wire.Msg).SetRcodeFormatError(query))
				return
			}
			says(nil, right)(w, query)
		}, "", "still answers"},
		"an answer of before": {func(w wire.ResponseWriter, query *wire.Msg) {
			early := query.Copy()
			early.Id++
			says(nil)(w, early)
			says(nil, right)(w, query)
		}, "", "still answers"},
		"no message":      {func(w wire.ResponseWriter, _ *wire.Msg) { _, _ = w.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, "no answer", "no answer"},
		"nothing at all":  {func(wire.ResponseWriter, *wire.Msg) {}, "no answer within 200ms", "no answer within"},
		"terminal escape": {says(nil, host+`. 600 IN CNAME \027[2J.site.com.`), "alias to", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(w wire.ResponseWriter, query *wire.Msg) {
				if query.RecursionDesired {
					t.Error("recursion is asked for")
				}
				test.answer(w, query)
			})
			for gone, want := range map[bool]string{false: test.there, true: test.gone} {
				v := run(t, verify.Config{Servers: []string{server}, Timeout: 200 * time.Millisecond})
				v.Published(record("172.30.19.42"), gone, time.Now())
				s := await(t, v, "asked", func(s verify.State) bool { return !s.Asked.IsZero() })
				if (s.Stage == verify.Verified) != (want == "") || !strings.Contains(s.Reason, want) || want == "" && s.Reason != "" {
					t.Errorf("gone=%t: %s, %q, want %q", gone, s.Stage, s.Reason, want)
				}
				if strings.ContainsRune(s.Reason, '\x1b') {
					t.Errorf("the reason does harm to a terminal: %q", s.Reason)
				}
			}
		})
	}
}

// An address of a server where nobody listens.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := packets.LocalAddr().String()
	_ = packets.Close()
	v := run(t, verify.Config{Servers: []string{addr}})
	v.Published(record("172.30.19.42"), false, time.Now())
	s := await(t, v, "asked", func(s verify.State) bool { return !s.Asked.IsZero() })
	if !strings.Contains(s.Reason, addr+": no answer") {
		t.Errorf("the reason is %s", s.Reason)
	}
}

// A server that is silent does not keep the process from ending, nor callers from
// going on, and what it was not given the time to say is no verdict.
func TestSilence(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	server := serve(t, func(wire.ResponseWriter, *wire.Msg) {
		select {
		case asked <- struct{}{}:
		default:
		}
	})
	v := verify.New(verify.Config{Scope: "internal", Servers: []string{server}, Timeout: time.Hour, Workers: 1})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- v.Run(ctx) }()
	v.Published(record("172.30.19.42"), false, time.Now())
	<-asked
	for i := range 1000 {
		v.Published(dns.Record{Name: "other.site.com", Type: dns.A, Value: net.IPv4(10, 0, byte(i>>8), byte(i)).String()}, false, time.Now())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if s := v.State(host)[0]; s.Stage != verify.Published || !s.Asked.IsZero() {
		t.Errorf("the state is %+v", s)
	}
}

// An answer that comes when there is a newer change is none to that one, and counts
// for nothing.
func TestAnswerToAnOlderChange(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}, 2), make(chan struct{})
	server := serve(t, func(w wire.ResponseWriter, query *wire.Msg) {
		asked <- struct{}{}
		<-release
		says(nil, host+". 600 IN A 172.30.19.42", "other.site.com. 600 IN A 172.30.19.42")(w, query)
	})
	registry := prometheus.NewRegistry()
	v := run(t, verify.Config{Servers: []string{server}, Timeout: time.Hour, Workers: 1, Metrics: verify.NewMetrics(registry)})
	rec, now := record("172.30.19.42"), time.Now()
	v.Published(rec, false, now)
	<-asked
	v.Accepted(rec, true, now.Add(time.Second))
	close(release)
	other := rec
	other.Name = "other.site.com"
	v.Published(other, false, now) // by the one worker, after it is done with the first one
	for range time.Tick(2 * time.Millisecond) {
		if s := v.State(other.Name); len(s) == 1 && s[0].Stage == verify.Verified {
			break
		}
	}
	if s := v.State(host)[0]; s.Stage != verify.Accepted || !s.Gone || !s.Asked.IsZero() {
		t.Errorf("the newer change is %+v", s)
	}
	for stage, want := range map[string]float64{"accepted": 1, "published": 0, "verified": 1} {
		if n := sample(t, registry, "keastream_dns_verification_records", stage); n != want {
			t.Errorf("%v are %s, want %v", n, stage, want)
		}
	}
}

// Only so many changes are asked for at a time, and so many are.
func TestWorkers(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	inside, most, both := 0, 0, make(chan struct{})
	server := serve(t, func(w wire.ResponseWriter, query *wire.Msg) {
		mu.Lock()
		inside++
		most = max(most, inside)
		entered := both
		if inside >= 2 {
			close(both)
			both = make(chan struct{})
		}
		mu.Unlock()
		select {
		case <-entered:
		case <-t.Context().Done():
		}
		mu.Lock()
		inside--
		mu.Unlock()
		says(nil)(w, query)
	})
	v := run(t, verify.Config{Servers: []string{server}, Workers: 2, Timeout: time.Hour})
	for i := range 100 {
		v.Published(dns.Record{Name: "h.site.com", Type: dns.A, Value: net.IPv4(10, 0, 0, byte(i)).String()}, true, time.Now())
	}
	for range time.Tick(2 * time.Millisecond) {
		if v.Counts()[verify.Verified] >= 50 {
			break
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if most != 2 {
		t.Errorf("%d at a time", most)
	}
}
