// Package embeddednats is a NATS server with JetStream inside the publisher, for
// a site with one host. It is the real server, configured so that an
// acknowledged message is on disk, and it listens on loopback so that the other
// services, and the nats command, can use it.
//
// The server is started before everything else and shut down last: it needs
// nothing and the others need it. Its one fault that does not heal is a full
// disk, upon which nats-server switches JetStream off for good; [Server.Run]
// starts it anew.
package embeddednats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// maxPayload is what the stream takes, 64 KiB, and room for headers, which
	// the server counts too.
	maxPayload = 64<<10 + 4<<10

	// The sizes that streams may reserve. They are fixed because nats-server
	// would else take a part of the disk that is free at this start, and refuse
	// its own stream after a start with less. The stream bounds itself, so the
	// first one is out of the way of every --stream-max-bytes.
	maxStore  = 1 << 40
	maxMemory = 256 << 20

	// lookEvery is how often Run looks whether JetStream is on.
	lookEvery = time.Second
)

// Server is a running server. Its methods may be called from several goroutines
// at once.
type Server struct {
	log  *slog.Logger
	host string
	dir  string

	life sync.Mutex // held while the server starts or stops, which may take long
	lock *os.File   // nil after Shutdown; guarded by life

	mu   sync.Mutex     // never held for long; guards what follows
	port int            // the real one, from the first start on
	nats *server.Server // nil while there is none
}

// Start starts the server and waits until its streams are recovered and it
// listens. It makes the store directory, readable for this user only.
//
// It fails if the settings are wrong, if another process uses the store, if the
// address is taken, or if the store cannot be written; the error names the
// setting. With ctx it stops waiting. ctx is not used after it returned.
func Start(ctx context.Context, settings Settings, log *slog.Logger) (*Server, error) {
	host, port, err := settings.address()
	if err != nil {
		return nil, fmt.Errorf("start NATS server on --nats-listen=%s: %w", settings.Listen, err)
	}
	lock, err := lockStore(settings.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("take the store of the NATS server, --nats-store-dir=%s: %w", settings.StoreDir, err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	s := &Server{log: log, host: host, dir: settings.StoreDir, port: port, lock: lock}
	if err := s.start(ctx); err != nil {
		lock.Close()
		return nil, fmt.Errorf("start NATS server on --nats-listen=%s with --nats-store-dir=%s: %w", settings.Listen, settings.StoreDir, err)
	}
	return s, nil
}

// start starts a nats-server. The caller holds life or is the only one.
func (s *Server) start(ctx context.Context) error {
	nats, err := server.NewServer(&server.Options{
		ServerName:             "keastream-publisher",
		Host:                   s.host,
		Port:                   s.port, // only start writes it
		JetStream:              true,
		StoreDir:               s.dir,
		SyncAlways:             true, // else a power cut takes up to two minutes of acknowledged messages
		JetStreamMaxStore:      maxStore,
		JetStreamMaxMemory:     maxMemory,
		MaxPayload:             maxPayload,
		NoSigs:                 true, // signals are the daemon's
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return err
	}
	log := &logger{log: s.log}
	nats.SetLoggerV2(log, false, false, false)

	started := make(chan struct{})
	go func() {
		defer close(started)
		nats.Start() // comes back when the server listens, or after a fatal error
	}()
	select {
	case <-started:
	case <-ctx.Done():
		// The server cannot be shut down in the middle of its start.
		<-started
		err = context.Cause(ctx)
	}
	if err == nil {
		err = log.fatalError()
	}
	if err == nil && nats.Addr() == nil {
		err = errors.New("the server does not listen")
	}
	if err != nil {
		nats.Shutdown()
		nats.WaitForShutdown()
		return err
	}
	s.mu.Lock()
	s.nats, s.port = nats, nats.Addr().(*net.TCPAddr).Port
	s.mu.Unlock()
	s.log.InfoContext(ctx, "nats server started", "version", server.VERSION, "url", s.URL(), "store_dir", s.dir)
	return nil
}

// Run watches the server until ctx ends, and returns nil then. The server goes
// on: it ends with [Server.Shutdown]. When nats-server has switched JetStream
// off, because the disk was full or could not be written, Run starts it anew,
// again and again until there is room; the clients come back by themselves.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if s.Ready() != nil {
				s.restart(ctx)
			}
		}
	}
}

func (s *Server) restart(ctx context.Context) {
	s.life.Lock()
	defer s.life.Unlock()
	if s.lock == nil {
		return // shut down
	}
	s.log.ErrorContext(ctx, "JetStream is off, starting the nats server anew: see that there is room in its store", "store_dir", s.dir)
	s.stop()
	if err := s.start(ctx); err != nil {
		s.log.ErrorContext(ctx, "the nats server did not start, trying on", "err", err)
	}
}

// stop ends the nats-server, if there is one. The caller holds life.
func (s *Server) stop() {
	s.mu.Lock()
	nats := s.nats
	s.nats = nil
	s.mu.Unlock()
	if nats != nil {
		nats.Shutdown()
		nats.WaitForShutdown()
	}
}

// Shutdown ends the server and waits until its files are closed. Doing it twice
// is the same as once.
func (s *Server) Shutdown() {
	s.life.Lock()
	defer s.life.Unlock()
	if s.lock == nil {
		return
	}
	s.stop()
	s.lock.Close()
	s.lock = nil
	s.log.Info("nats server stopped")
}

// Ready returns an error while the server cannot store anything. It looks at
// memory only.
func (s *Server) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.nats == nil:
		return errors.New("the embedded NATS server is not running")
	case !s.nats.JetStreamEnabled():
		return fmt.Errorf("JetStream of the embedded NATS server is off: see that there is room in %s", s.dir)
	}
	return nil
}

// URL is the address for clients in other processes, with the real port.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "nats://" + net.JoinHostPort(s.host, strconv.Itoa(s.port))
}

// InProcessConn gives a connection that does not use the network; it makes
// Server a nats.InProcessConnProvider. It fails while the server is being
// started anew.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nats == nil {
		return nil, errors.New("the embedded NATS server is not running")
	}
	return s.nats.InProcessConn()
}

// makeStore makes the directories. Only the inner one, which nats-server calls
// jetstream, is closed to others if it exists: the outer one may be read by them.
func makeStore(dir string) error {
	const remedy = "give a directory that the user of this service may write"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%w: %s", err, remedy)
	}
	if err := checkOwner(dir); err != nil {
		return err
	}
	inner := filepath.Join(dir, server.JetStreamStoreDir)
	err := os.MkdirAll(inner, 0o700)
	if err == nil {
		err = os.Chmod(inner, 0o700)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, remedy)
	}
	return nil
}
