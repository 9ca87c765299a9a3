package pgtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Names that every server has.
const (
	// Superuser is the name of the server's superuser.
	Superuser = "postgres"
	// Kea is the role that owns every database made by CreateDatabase and
	// Kea's tables in it. It has no other right.
	Kea = "kea"
)

// Options are for Start. The zero value works.
type Options struct {
	// Parent is the directory in which the server gets its own directory.
	// Empty means os.TempDir(). As root it must be open to user postgres.
	Parent string
	// Durable makes the server wait for the disk, as a real one does. Without
	// it data survives a stop of any kind, but not a crash of the machine.
	Durable bool
	// Settings are further server settings by their names in postgresql.conf.
	Settings map[string]string
}

// Server is a running PostgreSQL server. Its methods may be called from
// several goroutines.
type Server struct {
	programs programs
	owner    account
	dir      *directory
	port     int

	mu        sync.Mutex        // guards what follows
	process   *process          // nil while the server is down
	passwords map[string]string // by role
	removed   bool              // Stop was called
}

// Start makes and starts a server; it takes one to three seconds. ctx limits the
// start, not the life of the server. The caller must call Stop.
//
// It returns an error when PostgreSQL or Kea's script is not installed (the
// error names every missing part) or when the server does not start (the error
// has the end of its log).
func Start(ctx context.Context, o Options) (*Server, error) {
	programs, err := findPrograms()
	if err != nil {
		return nil, err
	}
	owner, err := serverAccount()
	if err != nil {
		return nil, err
	}
	dir, err := newDirectory(cmp.Or(o.Parent, os.TempDir()), owner)
	if err != nil {
		return nil, err
	}
	s := &Server{
		programs:  programs,
		owner:     owner,
		dir:       dir,
		passwords: map[string]string{Superuser: rand.Text(), Kea: rand.Text()},
	}
	if err := s.create(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), s.Stop())
	}
	return s, nil
}

func (s *Server) create(ctx context.Context, o Options) error {
	if err := s.initialize(ctx); err != nil {
		return err
	}
	if err := s.configure(o); err != nil {
		return err
	}
	if err := s.startOnFreePort(ctx); err != nil {
		return err
	}
	return s.createTemplate(ctx)
}

// initialize makes the data directory.
func (s *Server) initialize(ctx context.Context) error {
	passwordFile := filepath.Join(s.dir.path, "password")
	if err := os.WriteFile(passwordFile, []byte(s.passwords[Superuser]), 0o600); err != nil {
		return err
	}
	if err := os.Chown(passwordFile, s.owner.uid, s.owner.gid); err != nil {
		return err
	}
	cmd := s.command(ctx, s.programs.initdb, "--pgdata="+s.dir.data(), "--username="+Superuser, "--pwfile="+passwordFile,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	return errors.Join(run(cmd), os.Remove(passwordFile))
}

// command prepares a program to run as the server's user. Its working
// directory is the server's: that of this process may be closed to that user.
func (s *Server) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = environment()
	cmd.Dir = s.dir.path
	cmd.SysProcAttr = s.owner.attributes()
	return cmd
}

// configure appends to postgresql.conf, where the last value of a setting counts.
func (s *Server) configure(o Options) error {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": s.dir.path,
		"max_connections":         "200",
		"log_line_prefix":         "%m [%p] %q%u@%d ",
	}
	if !o.Durable {
		// synchronous_commit stays on: otherwise an immediate stop would lose
		// commits that were confirmed.
		settings["fsync"] = "off"
		settings["full_page_writes"] = "off"
	}
	maps.Copy(settings, o.Settings)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	f, err := os.OpenFile(filepath.Join(s.dir.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text.String())
	return errors.Join(err, f.Close())
}

// startOnFreePort starts the server for the first time and settles its port.
func (s *Server) startOnFreePort(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		// Below the ports that the kernel gives to connections and to
		// listeners on port 0 (32768 and up): nobody takes it while the server
		// is down for a restart.
		s.port = 15000 + mathrand.IntN(17000)
		probe, err := net.Listen("tcp", s.address())
		if err != nil {
			if attempt < 100 {
				continue
			}
			return fmt.Errorf("find a free port: %w", err)
		}
		if err := probe.Close(); err != nil {
			return err
		}
		err = s.Resume(ctx)
		if err == nil || ctx.Err() != nil || attempt >= 5 || !strings.Contains(err.Error(), "Address already in use") {
			return err
		}
	}
}

func (s *Server) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// Resume starts the server again after Halt, on the same port. It returns when
// logins work, and does nothing while the server runs.
func (s *Server) Resume(ctx context.Context) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		return errors.New("the server was stopped for good")
	}
	if s.process != nil {
		return nil
	}
	log, err := os.OpenFile(s.dir.log(), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	before, err := log.Seek(0, 2)
	if err != nil {
		return err
	}
	// Not bound to ctx: the server outlives it.
	cmd := s.command(context.WithoutCancel(ctx), s.programs.postgres, "-D", s.dir.data(), "-p", strconv.Itoa(s.port))
	cmd.Stdout, cmd.Stderr = log, log
	p, err := startProcess(cmd)
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeoutCause(ctx, readyLimit, fmt.Errorf("no login within %s", readyLimit))
	defer cancel()
	if err := p.awaitReady(ready, s.dsn("postgres", Superuser)); err != nil {
		stopped := p.stop(Immediate)
		return errors.Join(fmt.Errorf("%w; its log:\n%s", err, readFrom(log, before)), stopped)
	}
	s.process = p
	return nil
}

func readFrom(f *os.File, offset int64) string {
	content := make([]byte, 8<<10)
	n, _ := f.ReadAt(content, offset) // what can be read is enough
	return strings.TrimSpace(string(content[:n]))
}

// Halt stops the server and keeps its data. It does nothing while the server is
// down. An error says that the server had to be killed.
func (s *Server) Halt(mode Mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.halt(mode)
}

func (s *Server) halt(mode Mode) error {
	if s.process == nil {
		return nil
	}
	err := s.process.stop(mode)
	s.process = nil
	return err
}

// Restart is Halt and Resume. It returns when logins work again.
func (s *Server) Restart(mode Mode) error {
	if err := s.Halt(mode); err != nil {
		return err
	}
	return s.Resume(context.Background())
}

// Stop ends the server and removes all that it has on disk. A second call does
// nothing.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		return nil
	}
	s.removed = true
	return errors.Join(s.halt(Immediate), s.dir.remove())
}

// DSN gives the connection string (a URL) of a database for a role: Superuser,
// Kea, or one made by CreateRole. The string contains the password.
func (s *Server) DSN(database, role string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dsn(database, role)
}

func (s *Server) login(role string) *url.Userinfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return url.UserPassword(role, s.passwords[role])
}

func (s *Server) dsn(database, role string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(role, s.passwords[role]),
		Host:     s.address(),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SocketDir is the directory of the server's Unix socket. Kea takes it as
// "host", for a client without a network. Logins need a password there, too.
func (s *Server) SocketDir() string { return s.dir.path }
