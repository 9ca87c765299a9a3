package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/solidsim"
)

// cli are the flags. There is one thing to do, and so no verb.
type cli struct {
	Daemon daemon.Settings `embed:""`

	Listen        string        `name:"listen" default:"127.0.0.1:8443" placeholder:"HOST:PORT" help:"Address of the API (default: ${default}). The host stands in the certificate. Port 0: any free one, see the log."`
	DNSListen     string        `name:"dns-listen" default:"127.0.0.1:8053" placeholder:"HOST:PORT" help:"Address of the DNS server dns-internal-smart.site.com, UDP and TCP (default: ${default}). The other DNS server takes a free port on 127.0.0.1, see the log."`
	Zones         []string      `name:"zones" default:"site.com" placeholder:"ZONE" help:"Zones of both DNS servers (default: ${default}). Reverse zones are given like the others: 2.0.192.in-addr.arpa."`
	Users         []string      `name:"users" default:"ipmadmin:admin" placeholder:"NAME:PASSWORD" help:"Users of the API (default: ${default}). For tests only: arguments can be read by everybody on this host."`
	Latency       time.Duration `name:"latency" default:"20ms" placeholder:"DURATION" help:"How long each call of the API takes (default: ${default}). Calls run in parallel; level debug logs each."`
	TLSSelfSigned string        `name:"tls-self-signed" placeholder:"CA.pem" help:"Write the certificate of the CA here. It is new with every start."`
}

// Validate reports everything that is wrong with the settings, joined.
func (c *cli) Validate() error {
	_, err := c.config()
	return err
}

// config is what the simulator is made of, but for its log.
func (c *cli) config() (solidsim.Config, error) {
	cfg := solidsim.Config{
		Listen:    c.Listen,
		DNSListen: map[string]string{solidsim.InternalServer: c.DNSListen},
		Zones:     c.Zones,
		Latency:   c.Latency,
	}
	var err error
	cfg.Users, err = users(c.Users)
	return cfg, errors.Join(err, cfg.Validate())
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
