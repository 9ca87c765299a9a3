package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keastream/keastream/internal/secrets"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
)

// The verbs share the groups of settings in this file and embed those that they
// need. What is wrong with a group is said by its check, which the verb calls:
// what may be left out differs between verbs.

// appliance says how SOLIDserver is reached.
type appliance struct {
	Host         string  `name:"sds-host" env:"SDS_HOST" placeholder:"HOST" help:"SOLIDserver, as name or address, with or without port. It must be given."`
	CA           string  `name:"sds-ca" placeholder:"FILE" help:"PEM file of the authority that signed SOLIDserver's certificate, if it is none of the system's."`
	Insecure     bool    `name:"sds-insecure" help:"Take any certificate of SOLIDserver. For a lab: whoever stands between can read the password."`
	Auth         string  `name:"sds-auth" default:"native" enum:"native,basic,token" placeholder:"SCHEME" help:"How calls are authenticated: native, basic, or token for an API token of SOLIDserver 8.4.0 and later (default: ${default})."`
	Username     string  `name:"sds-username" env:"SDS_USERNAME" placeholder:"NAME" help:"User of SOLIDserver, or the id of the token. It must be given."`
	PasswordFile string  `name:"sds-password-file" placeholder:"FILE" help:"File with the password of SOLIDserver, or the secret of the token; it is read for every call. Without it KEASTREAM_SDS_PASSWORD or SDS_PASSWORD counts."`
	APIRate      float64 `name:"api-rate" default:"0" placeholder:"N" help:"Greatest number of API calls per second, of all scopes together; 0 for no limit (default: ${default})."`
}

// check reports what is wrong. It looks at files, but opens no connection.
func (a appliance) check() (errs []error) {
	missing := func(flag, value, variable string) {
		if value == "" {
			errs = append(errs, fmt.Errorf("%s: must be set: give the flag or KEASTREAM_%s or %[2]s", flag, variable))
		}
	}
	missing("--sds-host", a.Host, "SDS_HOST")
	missing("--sds-username", a.Username, "SDS_USERNAME")
	if _, err := a.password()(context.Background()); errors.Is(err, secrets.ErrNotSet) {
		errs = append(errs, errors.New("--sds-password-file: there is no password for SOLIDserver: "+
			"give the file, or the variable KEASTREAM_SDS_PASSWORD or SDS_PASSWORD"))
	}
	if a.APIRate < 0 || a.APIRate != a.APIRate {
		errs = append(errs, fmt.Errorf("--api-rate=%v: must be 0 or more", a.APIRate))
	}
	// Each is tried with the other one right, so that the error names its flag.
	try := func(flag, host, ca string) {
		client, err := solidserver.New(solidserver.Config{Host: host, CAFile: ca, Username: a.username, Password: a.password()})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", flag, err))
			return
		}
		client.Close()
	}
	if a.Host != "" {
		try("--sds-host", a.Host, "")
	}
	if a.CA != "" {
		try("--sds-ca", "localhost", a.CA)
	}
	return errs
}

func (a appliance) password() secrets.Source {
	return secrets.First(secrets.FromFile(a.PasswordFile),
		secrets.FromEnv("KEASTREAM_SDS_PASSWORD"), secrets.FromEnv("SDS_PASSWORD"))
}

func (a appliance) username(context.Context) (secrets.Value, error) {
	return secrets.New(a.Username), nil
}

// place is the appliance by which a target is told from others: the host and, if it
// is not that of https, the port.
func (a appliance) place() string {
	host := strings.TrimSuffix(strings.ToLower(a.Host), "/")
	return strings.TrimSuffix(strings.TrimPrefix(host, "https://"), ":443")
}

// config returns the settings of a client that does so many things at a time.
func (a appliance) config(concurrency int) solidserver.Config {
	return solidserver.Config{
		Host: a.Host, CAFile: a.CA, Insecure: a.Insecure,
		Auth: solidserver.Scheme(a.Auth), Username: a.username, Password: a.password(),
		Rate: max(0, a.APIRate), Concurrency: max(1, concurrency),
	}
}

// placing says which records are made of which reservations.
type placing struct {
	Zones        []string `name:"dns-zone" placeholder:"[SUBNET_ID=]ZONE" help:"Zone that names are written into; a list or repeated. At least one must be given. The first plain one is for short names, one with a Kea subnet id for the short names of that subnet."`
	TTL          uint32   `name:"ttl" default:"600" help:"TTL of the records in seconds, 5 to 604800 (default: ${default})."`
	PTR          string   `name:"ptr" default:"auto" placeholder:"WHEN" help:"Which addresses get a PTR record: auto (where the DNS server has the reverse zone and does not keep PTR records by itself), on (all; one without a reverse zone is reported), off (none; those that are there stay as they are) (default: ${default})."`
	AllowPrivate []string `name:"allow-private" placeholder:"SCOPE" help:"Scopes beside internal in which private (RFC 1918, RFC 4193) and link-local addresses may be shown; a list or repeated."`
}

func (p placing) check(scopes []string) (errs []error) {
	if len(p.Zones) == 0 {
		errs = append(errs, errors.New("--dns-zone: must be set: give the flag or KEASTREAM_DNS_ZONE"))
	} else if _, err := dns.ParseZones(p.Zones); err != nil {
		errs = append(errs, fmt.Errorf("--dns-zone: %w", err))
	}
	if p.TTL < 5 || p.TTL > 604800 {
		errs = append(errs, fmt.Errorf("--ttl=%d: must be from 5 to 604800 seconds", p.TTL))
	}
	if _, err := p.ptr(); err != nil {
		errs = append(errs, err)
	}
	return append(errs, p.checkPrivate(scopes)...)
}

// checkPrivate reports what is wrong with the scopes of --allow-private.
func (p placing) checkPrivate(scopes []string) (errs []error) {
	errs = checkScopes("--allow-private", p.AllowPrivate)
	for _, scope := range p.AllowPrivate {
		switch {
		case scope == internalScope:
			errs = append(errs, errors.New("--allow-private=internal: scope internal shows private addresses anyway: leave it out"))
		case scope == externalScope && !slices.Contains(scopes, scope):
			errs = append(errs, notWritten("--allow-private="+scope, scope))
		}
	}
	return errs
}

func (p placing) ptr() (policy dns.PTRPolicy, err error) {
	if err := policy.UnmarshalText([]byte(p.PTR)); err != nil {
		return policy, fmt.Errorf("--ptr: %w", err)
	}
	return policy, nil
}

// publicOnly tells whether a scope shows no private addresses.
func (p placing) publicOnly(scope string) bool {
	return scope != internalScope && !slices.Contains(p.AllowPrivate, scope)
}

// caution says what may be done, and when.
type caution struct {
	Policy   string        `name:"policy" default:"sync" placeholder:"POLICY" help:"What may be done: sync (everything), upsert-only (nothing is removed), create-only (nothing is changed or removed), observe (nothing is written; log and metrics say what would be) (default: ${default})."`
	Sources  []string      `name:"sources" placeholder:"SOURCE" help:"Sources in the stream that must be complete before any record is removed, in addition to those that the record itself names; a list or repeated."`
	HoldDown time.Duration `name:"hold-down" default:"10s" help:"How long a reservation must be gone before its record is (default: ${default})."`
	// A comma separates its parts.
	MaxRemovals string `name:"max-removals" default:"10,10%,200" placeholder:"MIN,PERCENT,MAX" help:"How many names of a scope may lose their records in an hour without approval: PERCENT of those that have one, but at least MIN and at most MAX. If there are more, none goes before a person has approved them. Changes of address have the same limit of their own (default: ${default})."`
}

func (c caution) check() (errs []error) {
	if _, err := c.policy(); err != nil {
		errs = append(errs, err)
	}
	for _, source := range c.Sources {
		if err := events.CheckSource(source); err != nil {
			errs = append(errs, fmt.Errorf("--sources: %w", err))
		}
	}
	if _, err := c.limit(); err != nil {
		errs = append(errs, err)
	}
	if c.HoldDown <= 0 || c.HoldDown > 24*time.Hour {
		errs = append(errs, fmt.Errorf("--hold-down=%v: must be more than 0 and at most 24h", c.HoldDown))
	}
	return errs
}

func (c caution) policy() (p reconcile.Policy, err error) {
	if err := p.UnmarshalText([]byte(c.Policy)); err != nil {
		return p, fmt.Errorf("--policy: %w", err)
	}
	return p, nil
}

func (c caution) limit() (brake.Limit, error) {
	limit, err := brake.ParseLimit(c.MaxRemovals)
	if err != nil {
		return limit, fmt.Errorf("--max-removals: %w", err)
	}
	return limit, nil
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
