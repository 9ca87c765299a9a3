package verify

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/keastream/keastream/pkg/events"
)

// ParseServers reads the values of the setting --verify-dns, each SCOPE=HOST or
// SCOPE=HOST:PORT, and returns the servers of each scope as HOST:PORT, in their
// order and distinct. The port is 53 if none is given; an IPv6 address with a port
// stands in brackets. A scope that comes again adds to its servers, and a value
// without a scope belongs to the one before it, so that
// internal=192.0.2.1,192.0.2.2 may be written. The error names all values that are
// not right. Which scopes there are is not known here.
func ParseServers(values []string) (map[string][]string, error) {
	servers := make(map[string][]string)
	scope := ""
	var errs []error
	for _, text := range values {
		for value := range strings.SplitSeq(text, ",") {
			name, host, ok := strings.Cut(value, "=")
			if !ok {
				name, host = scope, value
			}
			if name == "" {
				errs = append(errs, fmt.Errorf("%q: give it as SCOPE=HOST:PORT, for example internal=192.0.2.53:53", value))
				continue
			}
			scope = name
			addr, err := serverAddr(host)
			if err != nil {
				errs = append(errs, fmt.Errorf("%q: %w", value, err))
				continue
			}
			if !slices.Contains(servers[scope], addr) {
				servers[scope] = append(servers[scope], addr)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return servers, nil
}

// serverAddr reads HOST or HOST:PORT.
func serverAddr(text string) (string, error) {
	host, port := text, "53"
	_, err := netip.ParseAddr(text)
	if bare, closed := strings.CutSuffix(text, "]"); closed {
		host = strings.TrimPrefix(bare, "[")
	} else if err != nil && strings.Contains(text, ":") {
		if host, port, err = net.SplitHostPort(text); err != nil {
			return "", errors.New("is not HOST:PORT; an IPv6 address with a port is written [2001:db8::53]:53")
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("the port %q is not a number from 1 to 65535", port)
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil && addr.Is4() && strings.HasPrefix(text, "["), err != nil && strings.HasPrefix(text, "["):
		return "", errors.New("only an IPv6 address stands in brackets")
	case err == nil:
		return net.JoinHostPort(addr.String(), port), nil
	}
	name, err := events.CanonicalHostname(host)
	if err != nil {
		return "", fmt.Errorf("neither an address nor a host name: %w", err)
	}
	return net.JoinHostPort(name, port), nil
}
