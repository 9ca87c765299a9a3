package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits of the HTTP server: enough for the largest answer on a slow link, and
// an end for clients that never finish.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = time.Minute
	idleTimeout    = time.Minute
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 64 << 10
	maxScrapes     = 4
)

// HTTPAddr waits until the HTTP server listens and returns its real address,
// host:port: with port 0 in the settings the system chooses. The error is that
// of ctx.
func (d *Daemon) HTTPAddr(ctx context.Context) (string, error) {
	select {
	case <-d.listening:
		return d.addr.String(), nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (d *Daemon) routes() {
	d.mux.HandleFunc("GET /healthz", d.serveHealth)
	d.mux.HandleFunc("GET /readyz", d.serveReady)
	d.mux.Handle("GET /metrics", promhttp.HandlerFor(d.Metrics, promhttp.HandlerOpts{
		Registry:            d.Metrics,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             readTimeout,
	}))
}

// httpServer is the running server; the zero value is one that is switched off.
type httpServer struct {
	server *http.Server
	addr   string
	failed chan error
}

// listen takes the address and serves.
func (d *Daemon) listen(ctx context.Context) (*httpServer, error) {
	if !d.settings.httpOn() {
		return &httpServer{}, nil
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", d.settings.HTTPAddr)
	if err != nil {
		return nil, fmt.Errorf(`HTTP server: %w: choose another --http-addr (KEASTREAM_HTTP_ADDR), or "off"`, err)
	}
	d.addr = listener.Addr()
	close(d.listening)

	s := &httpServer{
		server: &http.Server{
			Handler:           http.MaxBytesHandler(d.mux, maxBodyBytes),
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(d.Log.Handler(), slog.LevelWarn),
		},
		addr:   d.addr.String(),
		failed: make(chan error, 1),
	}
	go func() {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()
	return s, nil
}

func (s *httpServer) name() string {
	if s.server == nil {
		return "off"
	}
	return s.addr
}

// shutdown lets requests finish for a second. It comes after the tasks, so that
// /readyz can be asked while they stop.
func (s *httpServer) shutdown() {
	if s.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		s.server.Close()
	}
}
