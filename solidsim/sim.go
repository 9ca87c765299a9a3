package solidsim

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sourcegraph/conc"
)

// The DNS servers of every simulator, by their names on the API.
const (
	// InternalServer serves the internal scope.
	InternalServer = "dns-internal-smart.site.com"
	// ExternalServer serves the external scope.
	ExternalServer = "dns-primary.site.com"
)

// Config says what a simulator is like. The zero value works.
type Config struct {
	// Listen is the address of the API, host:port. Default 127.0.0.1:0. The
	// host, if it is a name, stands in the certificate.
	Listen string
	// Servers are the DNS servers. Default: InternalServer and ExternalServer,
	// two SMARTs without members and views.
	Servers []Server
	// DNSListen is the address on which a DNS server answers queries, host:port
	// by the name of the server, or by server/view if it has several views. A
	// SMART with members answers none, its members do. The empty name stands for
	// the first one. Default for each: 127.0.0.1:0.
	DNSListen map[string]string
	// Zones are the zones of each of the two default servers. Default site.com.
	Zones []string
	// PushDelay is how long it takes until a change is pushed to the DNS side.
	// Default: it is there when the call is answered.
	PushDelay time.Duration
	// Unknowns are the switches for what is not known of a real appliance.
	Unknowns Unknowns
	// StateFile keeps the whole state, as Save writes it. A file that is there is
	// loaded at the start, in the place of Servers and Zones. It is written in
	// one step, a few seconds after a change and at Close.
	StateFile string
	// Users are the passwords by user. Default ipmadmin with admin.
	Users map[string]string
	// Tokens are the API tokens by their ids.
	Tokens map[string]Token
	// Denied are the services that a user has no right to, by user, as patterns
	// of path.Match: "member_list", "dns_zone_*". Default: everybody may call
	// everything.
	Denied map[string][]string
	// Options are the switches for what is not known about the API.
	Options Options
	// Faults are in force from the start. Default: none.
	Faults *FaultPlan
	// Control is the address of the control endpoint, host:port, where the host is
	// one of loopback. Default: there is none.
	Control string
	// Latency is how long each call of the API takes, at least. Calls run in
	// parallel.
	Latency time.Duration
	// Log gets every call at level Debug, parameters that were ignored at level
	// Warn, and at level Info that StateFile was loaded. Default: no log.
	Log *slog.Logger
}

// A Sim is a running simulator. Its methods may be called by many goroutines
// at once.
type Sim struct {
	store     *store
	state     *stateFile // nil: none
	api       *api
	authority *authority
	listener  net.Listener
	http      *http.Server
	control   *controls // nil if there is none
	unused    unusedConns
	dns       []*nameserver
	cancel    context.CancelFunc
	tasks     conc.WaitGroup
	failure   chan error // capacity 1: the first that was not wanted
	closing   sync.Once
	closeErr  error
}

// loopback is where everything listens that was not told where.
const loopback = "127.0.0.1:0"

// closePatience is how long Close waits for calls and queries in progress.
const closePatience = 2 * time.Second

// Start makes a simulator and returns when it answers on all its addresses.
// The context bounds the start only; Close ends the simulator. Start fails
// when a setting cannot be used or an address is taken.
func Start(ctx context.Context, cfg Config) (*Sim, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(cfg.Listen)
	authority, err := newAuthority(host)
	if err != nil {
		return nil, err
	}
	closed, cancel := context.WithCancel(context.Background())
	st, err := cfg.store()
	if err != nil {
		cancel()
		return nil, err
	}
	s := &Sim{
		store:     st,
		authority: authority,
		cancel:    cancel,
		failure:   make(chan error, 1),
	}
	s.api = &api{
		services: newServices(s.store), options: cfg.Options, log: cfg.Log, closed: closed,
		door: &door{users: cfg.Users, tokens: cfg.Tokens, denied: cfg.Denied, options: cfg.Options},
	}
	s.SetLatency(cfg.Latency)
	if err := s.obey(cfg); err != nil {
		cancel()
		return nil, err
	}
	s.http = &http.Server{
		Handler:           s.api,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		// Connections are reset by faults, which HTTP/2 cannot do.
		Protocols: new(http.Protocols),
	}
	s.http.Protocols.SetHTTP1(true)
	s.http.ConnState = s.unused.watch
	if cfg.StateFile != "" {
		s.state = &stateFile{path: cfg.StateFile, store: st, log: cfg.Log}
	}
	if err := s.listen(ctx, cfg); err != nil {
		s.abandon()
		return nil, err
	}
	s.serve()
	return s, nil
}

// obey does what the settings say about services by their names.
func (s *Sim) obey(cfg Config) error {
	var errs []error
	for _, user := range slices.Sorted(maps.Keys(cfg.Denied)) {
		errs = append(errs, checkMeaning("rights of "+strconv.Quote(user), cfg.Denied[user], s.api.services))
	}
	if cfg.Faults != nil {
		errs = append(errs, s.SetFaultPlan(*cfg.Faults))
	}
	return errors.Join(errs...)
}

// Validate returns all that is wrong with the settings, joined; for nil only
// addresses that are taken and services that do not exist keep Start from using
// them. It opens nothing.
func (c Config) Validate() error {
	_, err := c.complete()
	return err
}

// complete puts the defaults in and checks the settings.
func (c Config) complete() (Config, error) {
	c.Listen = cmp.Or(c.Listen, loopback)
	errs := []error{checkAddr("API", c.Listen), c.Unknowns.validate()}
	if len(c.Servers) > 0 && len(c.Zones) > 0 {
		errs = append(errs, errors.New("zones are given beside servers: put them into these"))
	}
	if len(c.Servers) == 0 {
		c.Servers = defaultServers(c.Zones)
	}
	described, err := c.describe()
	errs = append(errs, err)
	for _, name := range slices.Sorted(maps.Keys(c.DNSListen)) {
		// What a state file will bring is not known yet.
		if name != "" && c.StateFile == "" && !slices.Contains(described.addressees(), name) {
			errs = append(errs, fmt.Errorf("DNS server %q: want one of %q", name, described.addressees()))
		}
		errs = append(errs, checkAddr("DNS", c.DNSListen[name]))
	}
	if len(c.Users) == 0 {
		c.Users = map[string]string{"ipmadmin": "admin"}
	}
	options, err := c.Options.complete()
	c.Options = options
	errs = append(errs, err, c.checkDoor(), checkControl(c.Control))
	if c.Faults != nil {
		errs = append(errs, c.Faults.Validate())
	}
	if c.Latency < 0 {
		errs = append(errs, fmt.Errorf("latency %s: want 0 or more", c.Latency))
	}
	if c.PushDelay < 0 {
		errs = append(errs, fmt.Errorf("push delay %s: want 0 or more", c.PushDelay))
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

func checkAddr(purpose, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%s address %q: want host:port with a port from 0 to 65535", purpose, addr)
	}
	return nil
}

func (s *Sim) listen(ctx context.Context, cfg Config) (err error) {
	var config net.ListenConfig
	inner, err := config.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	s.listener = listenEither(inner, s.authority.config())
	if cfg.Control != "" {
		if s.control, err = listenControl(ctx, s, cfg.Control); err != nil {
			return err
		}
	}
	for i, name := range s.store.addressees() {
		addr := cfg.DNSListen[name]
		if i == 0 {
			addr = cmp.Or(addr, cfg.DNSListen[""])
		}
		ns, err := listenDNS(ctx, s.store, name, cmp.Or(addr, loopback))
		if err != nil {
			return err
		}
		s.dns = append(s.dns, ns)
	}
	return nil
}

// abandon closes what listen opened, for a simulator that never served.
func (s *Sim) abandon() {
	s.cancel()
	if s.listener != nil {
		_ = s.listener.Close()
	}
	if s.control != nil {
		_ = s.control.listener.Close()
	}
	for _, ns := range s.dns {
		_ = ns.tcp.Listener.Close()
		_ = ns.udp.PacketConn.Close()
	}
}

func (s *Sim) serve() {
	fail := func(err error) {
		select {
		case s.failure <- err:
		default:
		}
	}
	for _, ns := range s.dns {
		ns.serve(&s.tasks, fail)
	}
	if s.state != nil {
		s.tasks.Go(func() { s.state.run(s.api.closed) })
	}
	s.tasks.Go(func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			fail(fmt.Errorf("serve the API: %w", err))
		}
	})
	if s.control != nil {
		s.control.serve(&s.tasks, fail)
	}
}

// Wait blocks until the context ends, and then returns nil, or until a part of
// the simulator cannot go on, and then returns its error.
func (s *Sim) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failure:
		return err
	}
}

// Close ends the simulator: calls that wait for the latency end without an
// answer, calls at work are finished. It returns when nothing runs any more. A
// second Close does nothing.
func (s *Sim) Close() error {
	s.closing.Do(func() {
		s.cancel()
		s.unused.close()
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			s.closeErr = s.http.Close()
		}
		if s.control != nil {
			s.closeErr = errors.Join(s.closeErr, s.control.close(ctx))
		}
		for _, ns := range s.dns {
			s.closeErr = errors.Join(s.closeErr, ns.close(ctx))
		}
		s.tasks.Wait()
		if s.state != nil {
			s.closeErr = errors.Join(s.closeErr, s.state.write())
		}
	})
	return s.closeErr
}

// URL is the base of the API, https://host:port, without a slash at the end.
func (s *Sim) URL() string { return "https://" + s.Addr() }

// Addr is the address of the API, host:port. A simulator that listens on all
// addresses gives the one of this host.
func (s *Sim) Addr() string { return reachable(s.listener.Addr().String()) }

// DNSAddr is the address, host:port, on which a DNS server answers queries by
// UDP and TCP: a member of a SMART, a SMART without members, or a server by
// itself. If the server has several views, each has an address of its own and
// the name is server/view. It is empty for a name that answers no queries.
func (s *Sim) DNSAddr(name string) string {
	for _, ns := range s.dns {
		if ns.name == name {
			return reachable(ns.addr)
		}
	}
	return ""
}

// DNSNames are the names that DNSAddr has an address for, in the order in which
// the servers were described.
func (s *Sim) DNSNames() (names []string) {
	for _, ns := range s.dns {
		names = append(names, ns.name)
	}
	return names
}

// reachable turns the address of a listener into one to connect to.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// CAPEM is the certificate of the CA that signed the server's, in PEM.
func (s *Sim) CAPEM() []byte { return slices.Clone(s.authority.pem) }

// CertPool is a pool with that CA alone.
func (s *Sim) CertPool() *x509.CertPool { return s.authority.pool.Clone() }

// SetLatency sets how long calls take, for those that arrive from now on.
func (s *Sim) SetLatency(d time.Duration) { s.api.latency.Store(int64(d)) }

// SetFaults installs the fault hook, in the place of the one or of the plan that
// is there; nil takes either away.
func (s *Sim) SetFaults(f FaultFunc) { s.api.strike(f, nil) }

// Calls returns what clients did so far.
func (s *Sim) Calls() Calls { return s.api.calls.read() }

// ResetCalls starts the counts anew.
func (s *Sim) ResetCalls() { s.api.calls.reset() }
