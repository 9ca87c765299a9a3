// Package natsconn connects a service to NATS: the settings, and one way to
// connect that outlives every outage of the server.
package natsconn

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// DefaultURL is used if no --nats-url is given.
const DefaultURL = nats.DefaultURL

const (
	// dialTimeout bounds one attempt on one address.
	dialTimeout = 2 * time.Second
	// The pause between two rounds over all addresses doubles from the first
	// to the longest, see [pause].
	firstPause, longestPause = 500 * time.Millisecond, 2 * time.Second
	// A peer that went away without a word is noticed after
	// pingInterval * (maxPings + 1), 30 s. The default of the client is 6
	// minutes.
	pingInterval = 10 * time.Second
	maxPings     = 2
	// drainTimeout bounds Drain. It is below the 10 s a service has to stop.
	drainTimeout = 5 * time.Second
	// See listener.
	maxReasons = 8
	logAgain   = time.Minute
)

// Connect returns a connection that is never given up: it may not be connected
// yet, and it connects again after every loss, for as long as it takes, also
// if the server refuses the user for a while. An attempt is bounded by 2 s per
// address; the first round is made before Connect returns.
//
// service is the name of the service, for example keastream-dnswriter. It is
// the name of the connection in the server's log and, without "keastream-", the
// end of the inbox prefix: _INBOX_dnswriter. So a user of NATS can be allowed
// its own inbox alone, and cannot read the answers to others.
//
// While there is no connection publishing fails at once: nothing is kept back
// and sent later, when it may be out of date. Subscriptions come back by
// themselves.
//
// Losses, returns and errors that no call can report are logged. The last are
// important: a call of JetStream that the server denies looks like a time-out
// to the caller, and only this log line says why.
//
// Connect fails only if a setting cannot be used, or with ctx. ctx is not used
// after it returned. The caller ends the connection with Drain or Close.
func (s Settings) Connect(ctx context.Context, service string, log *slog.Logger) (*nats.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", context.Cause(ctx))
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	addresses := s.addresses()
	nc, err := nats.Connect(strings.Join(addresses, ","), s.options(service, log)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	if !nc.IsConnected() {
		log.WarnContext(ctx, "nats is not reachable, trying on", "urls", redactAll(addresses))
	}
	return nc, nil
}

func (s Settings) options(service string, log *slog.Logger) []nats.Option {
	l := &listener{log: log, reasons: map[string]bool{}}
	options := []nats.Option{
		nats.Name(service),
		nats.CustomInboxPrefix("_INBOX_" + strings.TrimPrefix(service, "keastream-")),
		nats.Timeout(dialTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(pause),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.DrainTimeout(drainTimeout),
		nats.ConnectHandler(l.connected),
		nats.DisconnectErrHandler(l.disconnected),
		nats.ReconnectHandler(l.connected),
		nats.ReconnectErrHandler(l.refused),
		nats.ErrorHandler(l.failed),
	}
	if s.InProcess != nil {
		return append(options, nats.InProcessServer(s.InProcess))
	}
	if s.Creds != "" {
		options = append(options, nats.UserCredentials(s.Creds))
	}
	if s.TLSCA != "" {
		options = append(options, nats.RootCAs(s.TLSCA))
	}
	if s.TLSCert != "" {
		options = append(options, nats.ClientCert(s.TLSCert, s.TLSKey))
	}
	return options
}

// pause is the time before the next round over all addresses, 250 ms to 2 s,
// with up to half of it taken off at random so that many services do not come
// back at the same moment. rounds counts from 1.
func pause(rounds int) time.Duration {
	full := longestPause
	if rounds < 3 {
		full = firstPause << max(rounds-1, 0)
	}
	return full - rand.N(full/2)
}

// listener logs what happens to one connection. The client calls it from one
// goroutine of its own, see nats.Options.
type listener struct {
	log *slog.Logger

	// Failed attempts come twice a second. A reason is logged when it is new
	// since the last connection, and after that any reason once a minute:
	// reasons may hold a port that is another one each time.
	reasons map[string]bool
	logged  time.Time
}

func (l *listener) connected(nc *nats.Conn) {
	clear(l.reasons)
	// The client's own redaction shows a token, which stands in place of a user.
	l.log.Info("nats connected", "url", Redact(nc.ConnectedUrl()), "server", nc.ConnectedServerName(), "version", nc.ConnectedServerVersion())
}

// disconnected is called with nil when the connection is closed by us.
func (l *listener) disconnected(nc *nats.Conn, err error) {
	if nc.IsClosed() || err == nil {
		return
	}
	l.log.Warn("nats disconnected, trying on", "err", err)
}

func (l *listener) refused(_ *nats.Conn, err error) {
	why := err.Error()
	isNew := len(l.reasons) < maxReasons && !l.reasons[why]
	if !isNew && time.Since(l.logged) < logAgain {
		return
	}
	l.reasons[why], l.logged = true, time.Now()
	l.log.Warn("nats connection attempt failed, trying on", "err", err)
}

// failed is called for errors that belong to no call, and for each refusal of
// the user after a loss.
func (l *listener) failed(nc *nats.Conn, sub *nats.Subscription, err error) {
	if !nc.IsConnected() {
		l.refused(nc, err)
		return
	}
	log := l.log
	if sub != nil {
		log = log.With("subject", sub.Subject)
	}
	log.Warn("nats reported an error", "err", err)
}
