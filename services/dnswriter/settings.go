package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keastream/keastream/internal/natsconn"
	"github.com/keastream/keastream/internal/secrets"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
)

// runVerb is the service itself.
type runVerb struct {
	NATS natsconn.Settings `embed:""`

	Sources []string `name:"sources" placeholder:"SOURCE" help:"Sources in the stream that must be complete before any record is removed, in addition to those that the record itself names; a list or repeated."`

	Zones   []string `name:"dns-zone" required:"" placeholder:"[SUBNET_ID=]ZONE" help:"Zone that names are written into; a list or repeated. The first plain one is for short names, one with a Kea subnet id for the short names of that subnet."`
	Scopes  []string `name:"dns-scope" default:"internal" placeholder:"SCOPE" help:"Scopes to write: internal, external or both; a list or repeated (default: ${default})."`
	Servers []string `name:"dns-server" placeholder:"SCOPE=NAME" help:"DNS server on the SOLIDserver for a scope, in its exact spelling; a list or repeated (default: internal=dns-internal-smart.site.com, external=dns-primary.site.com)."`
	Views   []string `name:"dns-view" placeholder:"SCOPE=NAME" help:"View on the DNS server of a scope, in its exact spelling, if that has views; a list or repeated."`
	TTL     uint32   `name:"ttl" default:"600" help:"TTL of the records in seconds, 5 to 604800 (default: ${default})."`

	Policy       string   `name:"policy" default:"sync" placeholder:"POLICY" help:"What may be done: sync (everything), upsert-only (nothing is removed), create-only (nothing is changed or removed), observe (nothing is written; log and metrics say what would be) (default: ${default})."`
	PTR          string   `name:"ptr" default:"auto" placeholder:"WHEN" help:"Which addresses get a PTR record: auto (where the DNS server has the reverse zone and does not keep PTR records by itself), on (all; one without a reverse zone is reported), off (none; those that are there stay as they are) (default: ${default})."`
	AllowPrivate []string `name:"allow-private" placeholder:"SCOPE" help:"Scopes beside internal in which private (RFC 1918, RFC 4193) and link-local addresses may be shown; a list or repeated."`

	HoldDown time.Duration `name:"hold-down" default:"10s" help:"How long a reservation must be gone before its record is (default: ${default})."`
	Sweep    time.Duration `name:"sweep" default:"15m" help:"Time between consistency checks (default: ${default})."`
	Workers  int           `name:"workers" default:"8" help:"How many names of a scope are worked on at a time, 1 to 64 (default: ${default})."`
	APIRate  float64       `name:"api-rate" default:"0" placeholder:"N" help:"Greatest number of API calls per second, of all scopes together; 0 for no limit (default: ${default})."`

	Host         string `name:"sds-host" required:"" env:"SDS_HOST" placeholder:"HOST" help:"SOLIDserver, as name or address, with or without port."`
	CA           string `name:"sds-ca" placeholder:"FILE" help:"PEM file of the authority that signed SOLIDserver's certificate, if it is none of the system's."`
	Insecure     bool   `name:"sds-insecure" help:"Take any certificate of SOLIDserver. For a lab: whoever stands between can read the password."`
	Auth         string `name:"sds-auth" default:"native" placeholder:"SCHEME" help:"How calls are authenticated: native, basic, or token for an API token of SOLIDserver 8.4.0 and later (default: ${default})."`
	Username     string `name:"sds-username" required:"" env:"SDS_USERNAME" placeholder:"NAME" help:"User of SOLIDserver, or the id of the token."`
	PasswordFile string `name:"sds-password-file" placeholder:"FILE" help:"File with the password of SOLIDserver, or the secret of the token; it is read for every call. Without it KEASTREAM_SDS_PASSWORD or SDS_PASSWORD counts."`

	Once bool `name:"once" help:"Do one consistency check and end: exit code 3 if removals are still without proof after a while, or if --policy does not allow all that is to be done."`
}

// The names of the scopes.
const (
	internalScope = "internal"
	externalScope = "external"
)

// checkScopes reports what is wrong with the settings that speak of scopes.
func (v runVerb) checkScopes() (errs []error) {
	check := func(setting string, scopes []string) {
		for i, scope := range scopes {
			switch {
			case scope != internalScope && scope != externalScope:
				errs = append(errs, fmt.Errorf("%s=%s: not internal or external", setting, scope))
			case slices.Contains(scopes[:i], scope):
				errs = append(errs, fmt.Errorf("%s=%s: is given twice: leave one out", setting, scope))
			}
		}
	}
	if len(v.Scopes) == 0 {
		errs = append(errs, errors.New("--dns-scope: there is none; give internal, external or both"))
	}
	check("--dns-scope", v.Scopes)
	check("--allow-private", v.AllowPrivate)
	servers, err := v.servers()
	if err != nil {
		errs = append(errs, err)
	}
	views, err := v.views()
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 && len(v.Scopes) > 1 && servers[internalScope] == servers[externalScope] && views[internalScope] == views[externalScope] {
		errs = append(errs, fmt.Errorf("--dns-server=external=%s: the scopes would write the same records: "+
			"give each a server of its own, or a view with --dns-view", servers[externalScope]))
	}
	return errs
}

func (v runVerb) policy() (p reconcile.Policy, err error) {
	if err := p.UnmarshalText([]byte(v.Policy)); err != nil {
		return p, fmt.Errorf("--policy: %w", err)
	}
	return p, nil
}

func (v runVerb) ptr() (p dns.PTRPolicy, err error) {
	if err := p.UnmarshalText([]byte(v.PTR)); err != nil {
		return p, fmt.Errorf("--ptr: %w", err)
	}
	return p, nil
}

// publicOnly tells whether a scope shows no private addresses.
func (v runVerb) publicOnly(scope string) bool {
	return scope != internalScope && !slices.Contains(v.AllowPrivate, scope)
}

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
	errs = append(errs, v.checkScopes()...)
	if _, err := v.policy(); err != nil {
		errs = append(errs, err)
	}
	if _, err := v.ptr(); err != nil {
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

// solidserver returns the settings of the client. Each worker has one call under
// way at a time, and so has the check of each scope while it reads a zone.
func (v runVerb) solidserver() solidserver.Config {
	return solidserver.Config{
		Host: v.Host, CAFile: v.CA, Insecure: v.Insecure,
		Auth: solidserver.Scheme(v.Auth), Username: v.username, Password: v.password(),
		Rate: max(0, v.APIRate), Concurrency: max(1, (v.Workers+1)*len(v.Scopes)),
	}
}
