package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keastream/keastream/internal/secrets"
)

// database says how Kea's database is reached. It is asked anew for every
// connection, so a password that was changed in its file counts from the next
// one on.
type database struct {
	Host         string `name:"host" default:"localhost" help:"Host of PostgreSQL, or the directory of its socket (default: ${default})."`
	Port         uint16 `name:"port" default:"5432" help:"Port of PostgreSQL (default: ${default})."`
	Name         string `name:"name" default:"kea" help:"Name of Kea's database (default: ${default})."`
	User         string `name:"user" default:"kea" help:"Role to connect as (default: ${default})."`
	PasswordFile string `name:"password-file" placeholder:"FILE" help:"File with the password; it is read for every connection. Without it KEA_DB_PASSWORD counts."`
	SSLMode      string `name:"sslmode" default:"prefer" enum:"disable,allow,prefer,require,verify-ca,verify-full" help:"TLS to PostgreSQL: disable, allow, prefer, require, verify-ca or verify-full (default: ${default})."`
	SSLRootCert  string `name:"sslrootcert" placeholder:"FILE" help:"PEM file of the authorities that sign PostgreSQL's certificate."`
	URL          string `name:"url" placeholder:"URL" help:"Connection URL, instead of host, port, name, user, sslmode and sslrootcert; may name several hosts, of which the primary is taken. Keep the password out of it."`
}

// Validate reports what can be seen without connecting.
func (d database) Validate() error {
	if d.URL != "" && d.SSLRootCert != "" {
		return errors.New("--db-sslrootcert: is not used with --db-url: write sslrootcert=FILE into the URL")
	}
	_, err := d.config()
	return err
}

// connect opens a connection to the primary with the password of this moment.
func (d database) connect(ctx context.Context, applicationName string) (*pgx.Conn, error) {
	config, err := d.config()
	if err != nil {
		return nil, err
	}
	return d.open(ctx, config, applicationName)
}

// connectAny connects to the primary if it is there, and else to a standby, for
// whoever only looks.
func (d database) connectAny(ctx context.Context, applicationName string) (*pgx.Conn, error) {
	conn, err := d.connect(ctx, applicationName)
	if err == nil {
		return conn, nil
	}
	config, configErr := d.config()
	if configErr != nil {
		return nil, configErr
	}
	config.ValidateConnect = nil
	conn, anyErr := d.open(ctx, config, applicationName)
	if anyErr != nil {
		return nil, err
	}
	return conn, nil
}

func (d database) open(ctx context.Context, config *pgx.ConnConfig, applicationName string) (*pgx.Conn, error) {
	config.RuntimeParams["application_name"] = applicationName
	password, err := secrets.First(secrets.FromFile(d.PasswordFile), secrets.FromEnv("KEA_DB_PASSWORD"))(ctx)
	switch {
	case err == nil:
		config.Password = password.Reveal()
	case !errors.Is(err, secrets.ErrNotSet): // else: a .pgpass file, a certificate, or peer authentication
		return nil, fmt.Errorf("password of PostgreSQL: %w", err)
	}
	return pgx.ConnectConfig(ctx, config)
}

func (d database) config() (*pgx.ConnConfig, error) {
	text := d.URL
	if text == "" {
		text = d.connectionURL()
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		// The library hides the password of a URL in its errors.
		return nil, fmt.Errorf("--db-host, --db-url and the other settings of the database: %w", err)
	}
	if config.ConnectTimeout == 0 { // a host that is silent must not use up the time of the next one
		config.ConnectTimeout = 3 * time.Second
	}
	if config.ValidateConnect == nil { // a URL may say otherwise
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if config.RuntimeParams == nil {
		config.RuntimeParams = make(map[string]string)
	}
	return config, nil
}

func (d database) connectionURL() string {
	q := url.Values{"sslmode": {d.SSLMode}}
	if d.SSLRootCert != "" {
		q.Set("sslrootcert", d.SSLRootCert)
	}
	u := url.URL{Scheme: "postgres", User: url.User(d.User), Path: "/" + d.Name}
	port := strconv.Itoa(int(d.Port))
	if len(d.Host) > 0 && d.Host[0] == '/' {
		q.Set("host", d.Host)
		q.Set("port", port)
	} else {
		u.Host = net.JoinHostPort(d.Host, port)
	}
	u.RawQuery = q.Encode()
	return u.String()
}
