package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/solidsim"
)

// Names of the programs in Options.Bin.
const (
	PublisherProgram = "keastream-publisher"
	DNSWriterProgram = "keastream-dnswriter"
	InventoryProgram = "keastream-inventory"
	NATSProgram      = "nats-server"
)

// Options say how a Stack is made.
type Options struct {
	// Bin is the directory with the programs.
	Bin string
	// Latency is how long the simulator takes for each API call.
	Latency time.Duration
	// HoldDown is that of the consumers; 0 means 10 s.
	HoldDown time.Duration
	// ExternalNATS runs the nats-server from Bin instead of the one inside the
	// publisher.
	ExternalNATS bool
	// DNSWriter are more settings of every dnswriter, after those that a Stack
	// needs; what is given twice counts as given here.
	DNSWriter []string
	// Log gets what the simulator logs; nil means nothing.
	Log *slog.Logger
}

// Zone is the DNS zone of a Stack, Database its database and source.
const (
	Zone     = "site.com"
	Database = "kea"
)

// ReverseZones returns the reverse zones of a Stack: those of 10.0.0.0/8,
// 172.30.0.0/16 and 2001:db8::/32.
func ReverseZones() []string {
	return []string{"10.in-addr.arpa", "30.172.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"}
}

// Stack is the whole system on this machine: a throw-away PostgreSQL with Kea's
// schema and the outbox, the simulator in this process, and the three services
// as processes of their own. Everything listens on free ports of loopback and
// is gone after Close.
type Stack struct {
	PG        *pgtest.Server
	Sim       *solidsim.Sim
	NATS      *nats.Conn // of the caller, to look into the stream
	NATSAddr  string
	OutputDir string // of the cabinet files

	Publisher, DNSWriter, Inventory *Process
	NATSServer                      *Process   // nil if the publisher has it
	Processes                       []*Process // all, in the order of their start

	options Options
	dir     string
	ca      string // file with the authority of the simulator
}

// Start makes a Stack and returns when every service is ready.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	if o.HoldDown == 0 {
		o.HoldDown = 10 * time.Second
	}
	s := &Stack{options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "keastream-"); err != nil {
		return nil, err
	}
	s.OutputDir = filepath.Join(s.dir, "discovery")
	if err := os.Mkdir(s.OutputDir, 0o755); err != nil {
		return nil, err
	}
	if err := s.startPostgres(ctx); err != nil {
		return nil, err
	}
	s.Sim, err = solidsim.Start(ctx, solidsim.Config{
		Zones: append(ReverseZones(), Zone), Users: map[string]string{simUser: simPassword}, Latency: o.Latency, Log: o.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("start the SOLIDserver simulator: %w", err)
	}
	if err := s.describe(); err != nil {
		return nil, err
	}
	for _, p := range s.Processes {
		if err := p.Start(); err != nil {
			return nil, err
		}
	}
	s.NATS, err = nats.Connect("nats://"+s.NATSAddr,
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return s, s.AwaitReady(ctx)
}

const (
	simUser     = "keastream"
	simPassword = "simulated"
)

// startPostgres starts the server and installs the outbox with the real verb.
func (s *Stack) startPostgres(ctx context.Context) (err error) {
	if s.PG, err = pgtest.Start(ctx, pgtest.Options{Durable: true}); err != nil {
		return err
	}
	if err := s.PG.CreateDatabase(ctx, Database); err != nil {
		return err
	}
	install := s.program(PublisherProgram, s.databaseEnv(pgtest.Superuser), "install", "--grant-to", pgtest.Kea)
	s.Processes = nil // it is not one of those that run
	install.LogFile = filepath.Join(s.dir, "install.log")
	if err := install.Start(); err != nil {
		return err
	}
	if err := install.Wait(ctx); err != nil {
		return fmt.Errorf("keastream-publisher install: %w\n%s", err, install.LogTail())
	}
	return nil
}

// databaseEnv gives the settings of the database in the environment, the
// password apart from the URL.
func (s *Stack) databaseEnv(role string) []string {
	cfg, err := pgx.ParseConfig(s.PG.DSN(Database, role))
	if err != nil {
		panic(err) // it was made by our own server
	}
	return []string{
		"KEASTREAM_DB_HOST=" + cfg.Host,
		fmt.Sprintf("KEASTREAM_DB_PORT=%d", cfg.Port),
		"KEASTREAM_DB_USER=" + cfg.User,
		"KEASTREAM_DB_SSLMODE=disable",
		"KEA_DB_PASSWORD=" + cfg.Password,
	}
}

// describe lays down the command lines.
func (s *Stack) describe() error {
	var addrs [4]string
	for i := range addrs {
		var err error
		if addrs[i], err = FreeAddr(); err != nil {
			return err
		}
	}
	s.NATSAddr = addrs[0]
	s.ca = filepath.Join(s.dir, "solidserver-ca.pem")
	if err := os.WriteFile(s.ca, s.Sim.CAPEM(), 0o600); err != nil {
		return err
	}
	natsArgs := []string{"--embedded-nats", "--nats-listen", s.NATSAddr, "--nats-store-dir", filepath.Join(s.dir, "nats")}
	if s.options.ExternalNATS {
		natsArgs = []string{"--nats-url", "nats://" + s.NATSAddr}
		conf := filepath.Join(s.dir, "nats-server.conf")
		text := fmt.Sprintf("listen: %q\njetstream { store_dir: %q, sync_interval: always }\n", s.NATSAddr, filepath.Join(s.dir, "nats"))
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			return err
		}
		s.NATSServer = s.program(NATSProgram, nil, "-c", conf)
	}
	s.Publisher = s.program(PublisherProgram, s.databaseEnv(pgtest.Kea),
		append([]string{"run", "--source", Database, "--http-addr", addrs[1]}, natsArgs...)...)
	s.Publisher.HTTP = addrs[1]
	s.DNSWriter = s.dnsWriter(DNSWriterProgram, addrs[2])
	s.Inventory = s.program(InventoryProgram, nil,
		"run", "--nats-url", "nats://"+s.NATSAddr, "--http-addr", addrs[3],
		"--output-dir", s.OutputDir, "--hold-down", s.options.HoldDown.String())
	s.Inventory.HTTP = addrs[3]
	return nil
}

// dnsWriter lays down one that listens at addr.
func (s *Stack) dnsWriter(name, addr string, more ...string) *Process {
	args := slices.Concat([]string{
		"run", "--nats-url", "nats://" + s.NATSAddr, "--http-addr", addr, "--dns-zone", Zone,
		"--sds-host", s.Sim.Addr(), "--sds-ca", s.ca, "--hold-down", s.options.HoldDown.String(),
	}, s.options.DNSWriter, more)
	p := s.program(DNSWriterProgram, []string{"SDS_USERNAME=" + simUser, "SDS_PASSWORD=" + simPassword}, args...)
	p.Name, p.LogFile, p.HTTP = name, filepath.Join(s.dir, name+".log"), addr
	return p
}

// AnotherDNSWriter lays down a second instance with the settings of the first one
// and those in more, and does not start it. Close ends it.
func (s *Stack) AnotherDNSWriter(more ...string) (*Process, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	return s.dnsWriter("second "+DNSWriterProgram, addr, more...), nil
}

// AwaitReady waits until every service is ready.
func (s *Stack) AwaitReady(ctx context.Context) error {
	for _, p := range []*Process{s.Publisher, s.DNSWriter, s.Inventory} {
		if err := p.AwaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Checker returns a checker of this system, to which foreign records may be
// added.
func (s *Stack) Checker(foreign ...solidsim.Record) *Checker {
	return &Checker{
		DSN: s.PG.DSN(Database, pgtest.Kea), NATS: s.NATS, Source: Database,
		Records: func() []solidsim.Record { return s.Sim.Records(solidsim.InternalServer) },
		Types:   []string{"A", "AAAA", "PTR"}, Zone: Zone, Reverse: ReverseZones(), TTL: 600, Foreign: foreign, Dir: s.OutputDir,
	}
}

// Exec runs one statement as role kea, in a transaction of its own.
func (s *Stack) Exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.PG.DSN(Database, pgtest.Kea))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// Close ends everything and removes every file. It returns what did not end as
// it should.
func (s *Stack) Close() error {
	var errs []error
	for i := len(s.Processes) - 1; i >= 0; i-- { // who was started first is needed longest
		errs = append(errs, s.Processes[i].Stop())
	}
	if s.NATS != nil {
		s.NATS.Close()
	}
	if s.Sim != nil {
		errs = append(errs, s.Sim.Close())
	}
	if s.PG != nil {
		errs = append(errs, s.PG.Stop())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
