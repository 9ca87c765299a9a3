package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keastream/keastream/internal/natsconn"
	"github.com/keastream/keastream/internal/secrets"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
)

// runVerb is the service itself.
type runVerb struct {
	NATS natsconn.Settings `embed:""`

	Sources []string `name:"sources" placeholder:"SOURCE" help:"Sources in the stream that must be complete before any record is removed, in addition to those that the record itself names; a list or repeated."`

	Zones   []string `name:"dns-zone" required:"" placeholder:"[SUBNET_ID=]ZONE" help:"Zone that names are written into; a list or repeated. The first plain one is for short names, one with a Kea subnet id for the short names of that subnet."`
	Scope   string   `name:"dns-scope" default:"internal" help:"Scope to write: internal or external (default: ${default})."`
	Servers []string `name:"dns-server" placeholder:"SCOPE=NAME" help:"DNS server on the SOLIDserver for a scope, in its exact spelling; a list or repeated (default: internal=dns-internal-smart.site.com, external=dns-primary.site.com)."`
	Views   []string `name:"dns-view" placeholder:"SCOPE=NAME" help:"View on the DNS server of a scope, in its exact spelling, if that has views; a list or repeated."`
	TTL     uint32   `name:"ttl" default:"600" help:"TTL of the records in seconds, 5 to 604800 (default: ${default})."`

	HoldDown time.Duration `name:"hold-down" default:"10s" help:"How long a reservation must be gone before its record is (default: ${default})."`
	Sweep    time.Duration `name:"sweep" default:"15m" help:"Time between consistency checks (default: ${default})."`
	Workers  int           `name:"workers" default:"8" help:"How many names are worked on at a time, 1 to 64 (default: ${default})."`
	APIRate  float64       `name:"api-rate" default:"0" placeholder:"N" help:"Greatest number of API calls per second; 0 for no limit (default: ${default})."`

	Host         string `name:"sds-host" required:"" env:"SDS_HOST" placeholder:"HOST" help:"SOLIDserver, as name or address, with or without port."`
	CA           string `name:"sds-ca" placeholder:"FILE" help:"PEM file of the authority that signed SOLIDserver's certificate, if it is none of the system's."`
	Insecure     bool   `name:"sds-insecure" help:"Take any certificate of SOLIDserver. For a lab: whoever stands between can read the password."`
	Auth         string `name:"sds-auth" default:"native" placeholder:"SCHEME" help:"How calls are authenticated: native, basic, or token for an API token of SOLIDserver 8.4.0 and later (default: ${default})."`
	Username     string `name:"sds-username" required:"" env:"SDS_USERNAME" placeholder:"NAME" help:"User of SOLIDserver, or the id of the token."`
	PasswordFile string `name:"sds-password-file" placeholder:"FILE" help:"File with the password of SOLIDserver, or the secret of the token; it is read for every call. Without it KEASTREAM_SDS_PASSWORD or SDS_PASSWORD counts."`

	Once bool `name:"once" help:"Do one consistency check and end: exit code 3 if removals are still without proof after a while."`
}

// The names of the scopes.
const (
	internalScope = "internal"
	externalScope = "external"
)

// servers returns the DNS server of each scope.
func (v runVerb) servers() (map[string]string, error) {
	servers := map[string]string{
		internalScope: "dns-internal-smart.site.com",
		externalScope: "dns-primary.site.com",
	}
	return servers, byScope(servers, "--dns-server", v.Servers, "internal=dns-internal-smart.site.com")
}

// views returns the view of each scope, "" for one without.
func (v runVerb) views() (map[string]string, error) {
	views := map[string]string{internalScope: "", externalScope: ""}
	return views, byScope(views, "--dns-view", v.Views, "external=public")
}

// byScope puts the values of a setting, each SCOPE=NAME, into names.
func byScope(names map[string]string, setting string, values []string, example string) error {
	var errs []error
	for _, text := range values {
		scope, name, ok := strings.Cut(text, "=")
		switch _, known := names[scope]; {
		case !ok || name == "":
			errs = append(errs, fmt.Errorf("%s=%s: give it as SCOPE=NAME, for example %s", setting, text, example))
		case !known:
			errs = append(errs, fmt.Errorf("%s=%s: scope %q is not internal or external", setting, text, scope))
		default:
			names[scope] = name
		}
	}
	return errors.Join(errs...)
}

// Validate reports every setting that cannot work. It looks at files, but opens
// no connection.
func (v runVerb) Validate() error {
	var errs []error
	wrong := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, source := range v.Sources {
		if err := events.CheckSource(source); err != nil {
			errs = append(errs, fmt.Errorf("--sources: %w", err))
		}
	}
	if _, err := dns.ParseZones(v.Zones); err != nil {
		errs = append(errs, fmt.Errorf("--dns-zone: %w", err))
	}
	wrong(strings.Contains(v.Scope, ","), "--dns-scope=%s: one process writes one scope: run a second one for the other", v.Scope)
	wrong(!strings.Contains(v.Scope, ",") && v.Scope != internalScope && v.Scope != externalScope, "--dns-scope=%s: not internal or external", v.Scope)
	if _, err := v.servers(); err != nil {
		errs = append(errs, err)
	}
	if _, err := v.views(); err != nil {
		errs = append(errs, err)
	}
	wrong(v.TTL < 5 || v.TTL > 604800, "--ttl=%d: must be from 5 to 604800 seconds", v.TTL)
	wrong(v.HoldDown <= 0 || v.HoldDown > 24*time.Hour, "--hold-down=%v: must be more than 0 and at most 24h", v.HoldDown)
	wrong(v.Sweep < time.Second, "--sweep=%v: must be at least 1s", v.Sweep)
	wrong(v.Workers < 1 || v.Workers > 64, "--workers=%d: must be from 1 to 64", v.Workers)
	wrong(v.APIRate < 0 || v.APIRate != v.APIRate, "--api-rate=%v: must be 0 or more", v.APIRate)
	if _, err := v.password()(context.Background()); errors.Is(err, secrets.ErrNotSet) {
		errs = append(errs, errors.New("--sds-password-file: there is no password for SOLIDserver: give the file, or the variable SDS_PASSWORD"))
	}
	if v.Host != "" {
		if client, err := solidserver.New(v.solidserver()); err != nil {
			errs = append(errs, fmt.Errorf("--sds-host, --sds-ca, --sds-auth: %w", err))
		} else {
			client.Close()
		}
	}
	return errors.Join(errs...)
}

func (v runVerb) password() secrets.Source {
	return secrets.First(secrets.FromFile(v.PasswordFile),
		secrets.FromEnv("KEASTREAM_SDS_PASSWORD"), secrets.FromEnv("SDS_PASSWORD"))
}

func (v runVerb) username(context.Context) (secrets.Value, error) {
	return secrets.New(v.Username), nil
}

// solidserver returns the settings of the client. Each worker has one call
// under way at a time.
func (v runVerb) solidserver() solidserver.Config {
	return solidserver.Config{
		Host: v.Host, CAFile: v.CA, Insecure: v.Insecure,
		Auth: solidserver.Scheme(v.Auth), Username: v.username, Password: v.password(),
		Rate: max(0, v.APIRate), Concurrency: max(1, v.Workers),
	}
}
