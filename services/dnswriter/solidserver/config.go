package solidserver

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/keastream/keastream/internal/secrets"
)

// Config says how an appliance is reached. Host, Username and Password must be
// set.
type Config struct {
	// Host is the appliance: a name or an address, with or without a port, with
	// or without https:// before it. The API is HTTPS only.
	Host string
	// Auth is how calls are authenticated; "" means Native.
	Auth Scheme
	// Username and Password are asked for each call, so that a changed password
	// is used from the next call on. With the scheme Token they are its id and
	// its secret.
	Username, Password secrets.Source
	// CAFile is a PEM file of authorities that are trusted beside those of the
	// system. It is read once.
	CAFile string
	// Insecure takes any certificate. For a lab: whoever stands between can
	// read the password.
	Insecure bool
	// ReadTimeout and WriteTimeout bound one call, from sending to the end of
	// the answer. 0 means 30 s and the constant [WriteTimeout].
	ReadTimeout, WriteTimeout time.Duration
	// MayWrite is asked right before a call that changes something is sent, after
	// all waiting and reading. An error keeps it from being sent: nothing was
	// changed then, and the error of the operation is also dns.ErrNotNow. It looks
	// at memory and does not block. nil means it may.
	MayWrite func() error
	// Rate is the greatest number of calls per second; 0 means no limit.
	Rate float64
	// Concurrency is the greatest number of operations at a time, each of which
	// sends one call after the other; 0 means 8.
	Concurrency int
	// Metrics counts the calls; nil means nobody wants to know.
	Metrics *Metrics
	// Log gets each call at level Debug; nil means no log.
	Log *slog.Logger
}

// WriteTimeout is how long a call that changes something may take, unless the
// settings say otherwise. It is short because of two processes that relieve one
// another by a lease: the one that writes must not be at it any more when the
// other begins. So a write is started only while twice this time is left of the
// lease's term (once for the call, and as much again for a clock or a process
// that stands still), and the term cannot be shorter than that. A call that is
// given up has an unclear outcome, and is read back: giving up early costs a
// read, no more. Reading takes longer, and a late answer to it harms nobody.
const WriteTimeout = 5 * time.Second

const (
	defaultReadTimeout = 30 * time.Second
	defaultConcurrency = 8
)

// complete checks the settings, all of them, and puts the defaults in.
func (c Config) complete() (Config, error) {
	var bad []error
	c.Auth = cmp.Or(c.Auth, Native)
	if err := c.Auth.check(); err != nil {
		bad = append(bad, err)
	}
	if c.Username == nil || c.Password == nil {
		bad = append(bad, errors.New("user and password of SOLIDserver: are not set"))
	}
	if c.ReadTimeout < 0 || c.WriteTimeout < 0 {
		bad = append(bad, fmt.Errorf("time-outs %s and %s: must not be negative", c.ReadTimeout, c.WriteTimeout))
	}
	if c.Rate < 0 || c.Rate != c.Rate {
		bad = append(bad, fmt.Errorf("rate %v: must be 0 or more calls per second", c.Rate))
	}
	if c.Concurrency < 0 {
		bad = append(bad, fmt.Errorf("concurrency %d: must not be negative", c.Concurrency))
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = defaultReadTimeout
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = WriteTimeout
	}
	if c.Concurrency == 0 {
		c.Concurrency = defaultConcurrency
	}
	if c.MayWrite == nil {
		c.MayWrite = func() error { return nil }
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(bad...)
}

// baseURL reads the host of the appliance.
func baseURL(host string) (*url.URL, error) {
	bad := func(reason string) (*url.URL, error) {
		return nil, fmt.Errorf("SOLIDserver host %q: %s; give a name or address, for example sds.example.com or sds.example.com:8443", host, reason)
	}
	if strings.Contains(host, "@") { // what stands before it is not for a log
		return nil, errors.New("SOLIDserver host: user and password do not belong into it")
	}
	text := host
	if scheme, _, found := strings.Cut(host, "://"); !found {
		if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
			text = "[" + host + "]"
		}
		text = "https://" + text
	} else if !strings.EqualFold(scheme, "https") {
		return bad("the API speaks https only")
	}
	base, err := url.Parse(text)
	switch {
	case err != nil:
		return bad("is not a host")
	case base.Hostname() == "":
		return bad("is empty")
	case base.Path != "" && base.Path != "/" || base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		return bad("there must be nothing after the host and port")
	case strings.ContainsFunc(base.Host, func(r rune) bool { return r > '~' || r == '%' }):
		// It would be sent otherwise than it stands here, and the signature of a
		// token is made over what is sent.
		return bad("neither letters outside of ASCII nor the zone of an address can stand in it")
	case strings.HasSuffix(base.Host, ":"):
		return bad("the port is empty")
	}
	if port := base.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return bad("the port is not a number from 1 to 65535")
		}
	}
	return &url.URL{Scheme: "https", Host: base.Host, Path: "/rest/"}, nil
}

// tlsConfig trusts the authorities of the system and those of the file.
func tlsConfig(caFile string, insecure bool) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure}
	if caFile == "" {
		return config, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the authorities of the system: %w", err)
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read CA of SOLIDserver: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CA of SOLIDserver: %s holds no certificate in PEM", caFile)
	}
	config.RootCAs = pool
	return config, nil
}

// dialer bounds how long a connection may take to come about, and notices a
// peer that went away without a word.
func dialer() *net.Dialer {
	return &net.Dialer{
		Timeout:         10 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
}
