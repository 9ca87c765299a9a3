// Package natsconn connects a service to NATS: the settings, and one way to
// connect that outlives every outage of the server.
package natsconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// DefaultURL is used if no --nats-url is given.
const DefaultURL = nats.DefaultURL

const (
	// dialTimeout bounds one attempt on one address.
	dialTimeout = 2 * time.Second
	// The pause between two rounds over all addresses doubles from the first
	// to the second, see [pause].
	firstPause, longestPause = 250 * time.Millisecond, 2 * time.Second
	// A peer that went away without a word is noticed after
	// pingInterval * (maxPings + 1), 30 s. The default of the client is 6
	// minutes.
	pingInterval = 10 * time.Second
	maxPings     = 2
	// drainTimeout bounds Drain. It is below the 10 s a service has to stop.
	drainTimeout = 5 * time.Second
)

// Settings are the flags of a service that connects to NATS. A service embeds
// them into its kong struct with the tag `embed:""`. The zero value connects to
// [DefaultURL].
type Settings struct {
	// URL are the addresses of one cluster, scheme nats, tls, ws or wss. It has
	// no default of its own, so that a service can see whether it was given;
	// Connect takes [DefaultURL] if it is empty.
	URL []string `name:"nats-url" placeholder:"URL" help:"Address of NATS; several as a list or by repeating the flag (default: nats://127.0.0.1:4222)."`

	// Creds is the path of a credentials file (user JWT and key). It is read
	// anew at each connect.
	Creds string `name:"nats-creds" placeholder:"FILE" help:"Credentials file of the NATS user."`

	// TLSCA is a PEM file with the authorities that are trusted. Empty means
	// those of the system. With it the connection is refused without TLS.
	TLSCA string `name:"nats-tls-ca" placeholder:"FILE" help:"PEM file of the authorities that sign the certificate of NATS; requires TLS."`

	// TLSCert and TLSKey are PEM files, given together. They are read anew at
	// each connect.
	TLSCert string `name:"nats-tls-cert" placeholder:"FILE" help:"PEM file of the client certificate for NATS; requires TLS."`
	TLSKey  string `name:"nats-tls-key" placeholder:"FILE" help:"PEM file of the key to the client certificate."`

	// InProcess, if not nil, is a server inside this process: it is connected
	// to without the network and the addresses are not used.
	InProcess nats.InProcessConnProvider `kong:"-"`
}

// Validate reports everything that is wrong with the settings, joined. It looks
// whether the files can be opened. A password in an address is not repeated.
func (s Settings) Validate() error {
	var problems []error
	for _, address := range s.URL {
		if err := checkURL(address); err != nil {
			problems = append(problems, fmt.Errorf("--nats-url=%s: %w: give it as in %s", Redact(address), err, DefaultURL))
		}
	}
	for _, file := range []struct{ flag, path string }{
		{"--nats-creds", s.Creds}, {"--nats-tls-ca", s.TLSCA}, {"--nats-tls-cert", s.TLSCert}, {"--nats-tls-key", s.TLSKey},
	} {
		if err := checkFile(file.path); err != nil {
			problems = append(problems, fmt.Errorf("%s=%s: %w: it must be readable for the user of this service", file.flag, file.path, err))
		}
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		problems = append(problems, fmt.Errorf("--nats-tls-cert=%s --nats-tls-key=%s: one is of no use without the other: give both or none", s.TLSCert, s.TLSKey))
	}
	return errors.Join(problems...)
}

func checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		// The text of the error repeats the address with its password.
		return errors.New("not a URL")
	case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
		return errors.New("the scheme is not nats, tls, ws or wss")
	case u.Hostname() == "":
		return errors.New("there is no host in it")
	}
	return nil
}

func checkFile(path string) error {
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return errors.Unwrap(err) // without the path, which the message has
	}
	return file.Close()
}

// Redact hides user and password of an address, also of one that does not parse.
func Redact(address string) string {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		scheme, rest = "", address
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "[redacted]" + rest[at:]
	}
	if !found {
		return rest
	}
	return scheme + "://" + rest
}

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
	addresses := s.URL
	if len(addresses) == 0 {
		addresses = []string{DefaultURL}
	}
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
	l := &listener{log: log}
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
	if rounds < 4 {
		full = firstPause << max(rounds-1, 0)
	}
	return full - rand.N(full/2)
}

// listener logs what happens to one connection. The client calls it from one
// goroutine of its own.
type listener struct {
	log *slog.Logger
	// why is the last reason for a failed attempt: the same one is logged once.
	why atomic.Pointer[string]
}

func (l *listener) connected(nc *nats.Conn) {
	l.why.Store(nil)
	l.log.Info("nats connected", "url", nc.ConnectedUrlRedacted(), "server", nc.ConnectedServerName(), "version", nc.ConnectedServerVersion())
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
	if before := l.why.Swap(&why); before != nil && *before == why {
		return
	}
	l.log.Warn("nats connection attempt failed, trying on", "err", err)
}

func (l *listener) failed(_ *nats.Conn, sub *nats.Subscription, err error) {
	log := l.log
	if sub != nil {
		log = log.With("subject", sub.Subject)
	}
	log.Warn("nats reported an error", "err", err)
}

func redactAll(addresses []string) []string {
	out := make([]string, 0, len(addresses))
	for _, a := range addresses {
		out = append(out, Redact(a))
	}
	return out
}
