package embeddednats

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Settings are the flags of the embedded server. The publisher embeds them into
// its kong struct with the tag `embed:""`.
type Settings struct {
	// Embedded says that there is to be a server in this process.
	Embedded bool `name:"embedded-nats" help:"Run a NATS server with JetStream in this process, instead of --nats-url. For one host: it listens on loopback only."`

	// Listen is the host:port for clients; the host is a loopback address.
	// Port 0 takes a free one.
	Listen string `name:"nats-listen" default:"127.0.0.1:4222" placeholder:"HOST:PORT" help:"Loopback address on which the embedded server listens (default: ${default})."`

	// StoreDir is the directory of the stream. It is created if it is missing.
	StoreDir string `name:"nats-store-dir" default:"/var/lib/keastream/nats" placeholder:"DIR" help:"Directory in which the embedded server keeps the stream (default: ${default})."`
}

// Validate reports everything that is wrong with the settings, joined. Without
// --embedded-nats nothing is.
func (s Settings) Validate() error {
	if !s.Embedded {
		return nil
	}
	var problems []error
	if _, _, err := s.address(); err != nil {
		problems = append(problems, fmt.Errorf("--nats-listen=%s: %w", s.Listen, err))
	}
	if s.StoreDir == "" {
		problems = append(problems, errors.New("--nats-store-dir: must be set: give a directory on a disk that stays"))
	}
	return errors.Join(problems...)
}

// address splits Listen. Whoever reaches the server may read, write and delete
// the stream, for it knows no users and no TLS: so nobody outside this host may
// reach it.
func (s Settings) address() (host string, port int, err error) {
	host, portText, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return "", 0, fmt.Errorf("%w: give host:port, as in 127.0.0.1:4222", err)
	}
	number, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not a port: give 0 to 65535", portText)
	}
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return "", 0, errors.New("not a loopback address, and the embedded server has neither users nor TLS: " +
			"give 127.0.0.1, or run a NATS server of its own with both and give --nats-url")
	}
	return host, int(number), nil
}
