package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/keastream/keastream/solidsim"
)

// settings are the flags. Each is also read from the environment, as
// KEASTREAM_ and its name in upper case; a flag goes before the environment.
type settings struct {
	Listen        string           `default:"127.0.0.1:8443" placeholder:"ADDR" help:"Address of the API, host:port. The host stands in the certificate. Port 0: any free one, see the log."`
	DNSListen     string           `default:"127.0.0.1:8053" placeholder:"ADDR" help:"Address of the DNS server dns-internal-smart.site.com, host:port, UDP and TCP. The other DNS server takes a free port on 127.0.0.1, see the log."`
	Zones         []string         `default:"site.com" placeholder:"ZONE" help:"Zones of both DNS servers. Reverse zones are given like the others: 2.0.192.in-addr.arpa."`
	Users         []string         `default:"ipmadmin:admin" placeholder:"NAME:PASSWORD" help:"Users of the API. For tests only: arguments can be read by everybody on this host."`
	Latency       time.Duration    `default:"20ms" help:"How long each call of the API takes. Calls run in parallel."`
	TLSSelfSigned string           `name:"tls-self-signed" placeholder:"CA.pem" help:"Write the certificate of the CA here. It is new with every start."`
	LogLevel      string           `default:"info" placeholder:"LEVEL" help:"debug, info, warn or error, in any case. Level debug shows every call."`
	Version       kong.VersionFlag `help:"Show the version and exit."`
}

// readSettings reads flags and environment. The error names all values that
// cannot be used.
func readSettings(args []string) (settings, solidsim.Config, error) {
	var set settings
	parser, err := kong.New(&set,
		kong.Name("solidserver-sim"),
		kong.Description("An EfficientIP SOLIDserver for tests: the DNS part of its API, and DNS servers with the same data."),
		kong.DefaultEnvars("KEASTREAM"),
		kong.Vars{"version": version()},
	)
	if err != nil {
		return set, solidsim.Config{}, err
	}
	if _, err := parser.Parse(args); err != nil {
		return set, solidsim.Config{}, err
	}
	level, levelErr := logLevel(set.LogLevel)
	cfg := solidsim.Config{
		Listen:    set.Listen,
		DNSListen: map[string]string{solidsim.InternalServer: set.DNSListen},
		Zones:     set.Zones,
		Latency:   set.Latency,
		Log:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	cfg.Users, err = users(set.Users)
	return set, cfg, errors.Join(err, levelErr, cfg.Validate())
}

// logLevel knows the name warning too, which the replaced system had.
func logLevel(name string) (level slog.Level, err error) {
	if strings.EqualFold(name, "warning") {
		return slog.LevelWarn, nil
	}
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return level, fmt.Errorf("--log-level %q: want debug, info, warn or error", name)
	}
	return level, nil
}

func users(pairs []string) (map[string]string, error) {
	result := make(map[string]string)
	for i, pair := range pairs {
		name, password, found := strings.Cut(pair, ":")
		if !found || name == "" || password == "" {
			// The pair itself may be a password.
			return nil, fmt.Errorf("--users: number %d is not name:password", i+1)
		}
		result[name] = password
	}
	return result, nil
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// writeCA writes the file in one step: a reader sees all of it or nothing.
func writeCA(path string, pem []byte) error {
	if path == "" {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write CA: %w", err)
	}
	_, err = file.Write(pem)
	err = errors.Join(err, file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write CA: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}
