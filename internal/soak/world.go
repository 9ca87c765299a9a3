package soak

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/solidsim"
)

// Form says where NATS is.
type Form string

// The forms of a world.
const (
	Single   Form = "single"   // one nats-server
	Cluster  Form = "cluster"  // three nats-servers, and the stream on all of them
	Embedded Form = "embedded" // inside publisher A
)

const (
	database = "kea"
	source   = "kea"
	// role is that of the publishers. Its password is changed.
	role = "keastream"
)

// world is two publishers, two DNS writers and what they depend on. Everything
// listens on loopback and is gone after close.
type world struct {
	form        Form
	pg          *pgtest.Server
	servers     []*e2e.Process // NATS servers; none if embedded
	publishers  []*publisher   // A and B
	natsURL     string         // of all servers, without a proxy in between
	nats        *nats.Conn     // of the soak itself
	solidserver *solidsim.Sim
	dnswriters  []*dnswriter

	dir      string
	password string       // of role; belongs to the fault that changes it
	active   atomic.Int32 // index of the publisher that was seen as the active one last, -1 before
	leader   atomic.Int32 // likewise of the DNS writer that leads
}

// start makes a world in which A publishes, B stands by, and so do the DNS writers,
// and DNS is in step.
func start(ctx context.Context, o Options) (_ *world, err error) {
	w := &world{form: o.Form}
	w.active.Store(-1)
	w.leader.Store(-1)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "keastream-soak-"); err != nil {
		return nil, err
	}
	if err := w.startPostgres(ctx, o); err != nil {
		return nil, err
	}
	if err := w.describeNATS(o); err != nil {
		return nil, err
	}
	for i, name := range []string{"A", "B"} {
		p, err := w.describePublisher(i, name, o)
		if err != nil {
			return nil, err
		}
		w.publishers = append(w.publishers, p)
	}
	if err := w.startSOLIDserver(ctx); err != nil {
		return nil, err
	}
	for i := range 2 {
		if err := w.describeDNSWriter(i+1, o); err != nil {
			return nil, err
		}
	}
	for _, s := range w.servers {
		if err := s.Start(); err != nil {
			return nil, err
		}
	}
	for _, p := range []*e2e.Process{w.publishers[0].Process, w.publishers[1].Process, w.dnswriters[0].Process, w.dnswriters[1].Process} {
		if err := p.Start(); err != nil {
			return nil, err
		}
		ready, cancel := context.WithTimeout(ctx, time.Minute)
		err := p.AwaitReady(ready)
		cancel()
		if err != nil {
			return nil, err
		}
	}
	w.nats, err = w.connect()
	return w, err
}

// connect connects to NATS beside the proxies, and quickly finds another server
// when the one that it has is dead or frozen.
func (w *world) connect() (*nats.Conn, error) {
	conn, err := nats.Connect(w.natsURL, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0), nats.Timeout(time.Second),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2))
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return conn, nil
}

// sqlPrepare makes what the writers need; see sqlVersion.
const sqlPrepare = `CREATE SCHEMA soak; CREATE SEQUENCE soak.version`

// startPostgres starts the server and installs the outbox with the real verb.
func (w *world) startPostgres(ctx context.Context, o Options) (err error) {
	if w.pg, err = pgtest.Start(ctx, pgtest.Options{Durable: true}); err != nil {
		return err
	}
	if err := w.pg.CreateDatabase(ctx, database); err != nil {
		return err
	}
	if err := w.pg.CreateRole(ctx, role); err != nil {
		return err
	}
	super, err := pgx.ParseConfig(w.pg.DSN(database, pgtest.Superuser))
	if err != nil {
		return err
	}
	install := e2e.NewProcess("install", o.Publisher, w.path("install.log"), []string{"KEA_DB_PASSWORD=" + super.Password},
		"install", "--grant-to", role, "--db-host", super.Host, "--db-port", fmt.Sprint(super.Port),
		"--db-user", super.User, "--db-name", database, "--db-sslmode", "disable")
	if err := install.Start(); err != nil {
		return err
	}
	if err := install.Wait(ctx); err != nil {
		return fmt.Errorf("keastream-publisher install: %w\n%s", err, install.LogTail())
	}
	if err := w.exec(ctx, pgtest.Kea, sqlPrepare); err != nil {
		return err
	}
	return w.changePassword(ctx)
}

// exec runs one statement as a role, beside the proxies.
func (w *world) exec(ctx context.Context, as, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, w.pg.DSN(database, as))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// ask returns the number that a query of the superuser gives.
func (w *world) ask(ctx context.Context, sql string) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, w.pg.DSN(database, pgtest.Superuser))
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, sql).Scan(&n)
	return n, err
}

// askAll returns the texts that a query of the superuser gives.
func (w *world) askAll(ctx context.Context, sql string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, w.pg.DSN(database, pgtest.Superuser))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// changePassword gives the publishers' role a new password and tells nobody but
// writePassword.
func (w *world) changePassword(ctx context.Context) error {
	w.password = rand.Text()
	if err := w.exec(ctx, pgtest.Superuser, "ALTER ROLE "+role+" PASSWORD '"+w.password+"'"); err != nil {
		return fmt.Errorf("change the password of role %s: %w", role, err)
	}
	return nil
}

// writePassword lets the publishers know the password.
func (w *world) writePassword() error {
	fresh := w.path("password.new")
	if err := os.WriteFile(fresh, []byte(w.password), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, w.path("password"))
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// describeNATS lays down the servers. They acknowledge what is on disk.
func (w *world) describeNATS(o Options) error {
	n := map[Form]int{Single: 1, Cluster: 3, Embedded: 1}[w.form]
	var addrs, routes, urls []string
	for range n {
		for _, list := range []*[]string{&addrs, &routes} {
			addr, err := e2e.FreeAddr()
			if err != nil {
				return err
			}
			*list = append(*list, addr)
		}
	}
	for i, addr := range addrs {
		urls = append(urls, "nats://"+addr)
		if w.form == Embedded {
			break
		}
		name := fmt.Sprintf("nats-%d", i+1)
		text := fmt.Sprintf("server_name: %s\nlisten: %q\njetstream { store_dir: %q, sync_interval: always }\n", name, addr, w.path(name))
		if w.form == Cluster {
			// Clients are not told of the other servers: they would go there
			// beside the proxies.
			text += fmt.Sprintf("cluster { name: soak, listen: %q, no_advertise: true, routes: [nats://%s] }\n",
				routes[i], strings.Join(routes, ", nats://"))
		}
		conf := w.path(name + ".conf")
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			return err
		}
		w.servers = append(w.servers, e2e.NewProcess(name, o.NATSServer, w.path(name+".log"), nil, "-c", conf))
	}
	w.natsURL = strings.Join(urls, ",")
	return nil
}

// describePublisher lays down a publisher and opens its routes, two to every
// server that there is only one of: so there is a way left when one goes silent.
func (w *world) describePublisher(i int, name string, o Options) (*publisher, error) {
	p := &publisher{measured: new(measured)}
	if err := w.writePassword(); err != nil {
		return nil, err
	}
	db, err := pgx.ParseConfig(w.pg.DSN(database, role))
	if err != nil {
		return nil, err
	}
	pg := fmt.Sprintf("%s:%d", db.Host, db.Port)
	if p.pg, err = openRoutes(name+"-pg", pg, pg); err != nil {
		return nil, err
	}
	servers := strings.Split(strings.ReplaceAll(w.natsURL, "nats://", ""), ",")
	args := []string{"run", "--source", source}
	switch {
	case w.form == Embedded && i == 0:
		args = append(args, "--embedded-nats", "--nats-listen", servers[0], "--nats-store-dir", w.path("nats"))
		servers = nil
	case w.form == Cluster:
		args = append(args, "--stream-replicas", "3")
	default:
		servers = append(servers, servers[0])
	}
	if p.nats, err = openRoutes(name+"-nats", servers...); err != nil {
		return nil, err
	}
	for _, r := range p.nats {
		args = append(args, "--nats-url", "nats://"+r.addr)
	}
	http, err := e2e.FreeAddr()
	if err != nil {
		return nil, err
	}
	args = append(args, "--http-addr", http, "--db-password-file", w.path("password"),
		"--db-url", fmt.Sprintf("postgres://%s@%s,%s/%s?sslmode=disable", role, p.pg[0].addr, p.pg[1].addr, database))
	p.Process = e2e.NewProcess(name, o.Publisher, w.path("publisher-"+name+".log"), nil, args...)
	p.HTTP = http
	return p, nil
}

// processes are all that run beside PostgreSQL.
func (w *world) processes() []*e2e.Process {
	all := append([]*e2e.Process(nil), w.servers...)
	for _, p := range w.publishers {
		all = append(all, p.Process)
	}
	for _, d := range w.dnswriters {
		all = append(all, d.Process)
	}
	return all
}

func (w *world) routes() (all []*route) {
	for _, p := range w.publishers {
		all = slices.Concat(all, p.pg, p.nats)
	}
	for _, d := range w.dnswriters {
		all = append(append(all, d.nats...), d.api)
	}
	return all
}

// close ends everything and removes every file.
func (w *world) close() error {
	var errs []error
	for _, p := range w.processes() {
		p.Kill() // whatever it is doing, also when it is frozen
	}
	if w.nats != nil {
		w.nats.Close()
	}
	for _, r := range w.routes() {
		r.cut()
	}
	if w.solidserver != nil {
		errs = append(errs, w.solidserver.Close())
	}
	if w.pg != nil {
		errs = append(errs, w.pg.Stop())
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}
