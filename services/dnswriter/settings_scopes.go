package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/verify"
)

// The names of the scopes.
const (
	internalScope = "internal"
	externalScope = "external"
)

// serverNames says which DNS server, in which view, belongs to which scope.
type serverNames struct {
	Servers []string `name:"dns-server" placeholder:"SCOPE=NAME" help:"DNS server on the SOLIDserver for a scope, in its exact spelling; a list or repeated (default: internal=dns-internal-smart.site.com, external=dns-primary.site.com)."`
	Views   []string `name:"dns-view" placeholder:"SCOPE=NAME" help:"View on the DNS server of a scope, in its exact spelling, if that has views; a list or repeated."`
}

// servers returns the DNS server of each scope.
func (n serverNames) servers() (map[string]string, error) {
	servers := map[string]string{
		internalScope: "dns-internal-smart.site.com",
		externalScope: "dns-primary.site.com",
	}
	return servers, byScope(servers, "--dns-server", n.Servers, "internal=dns-internal-smart.site.com")
}

// views returns the view of each scope, "" for one without.
func (n serverNames) views() (map[string]string, error) {
	views := map[string]string{internalScope: "", externalScope: ""}
	return views, byScope(views, "--dns-view", n.Views, "external=public")
}

// check reports what is wrong, also of scopes that are not used.
func (n serverNames) check() (errs []error) {
	if _, err := n.servers(); err != nil {
		errs = append(errs, err)
	}
	if _, err := n.views(); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// target is the scopes of one DNS server each.
type target struct {
	Scopes []string    `name:"dns-scope" default:"internal" placeholder:"SCOPE" help:"Scopes to write: internal, external or both; a list or repeated (default: ${default})."`
	Names  serverNames `embed:""`
}

func (t target) check() (errs []error) {
	if len(t.Scopes) == 0 {
		errs = append(errs, errors.New("--dns-scope: there is none; give internal, external or both"))
	}
	errs = append(errs, checkScopes("--dns-scope", t.Scopes)...)
	errs = append(errs, t.Names.check()...)
	if len(errs) > 0 {
		return errs
	}
	unused := func(setting string, values []string) {
		for _, text := range values {
			if scope, _, _ := strings.Cut(text, "="); !slices.Contains(t.Scopes, scope) {
				errs = append(errs, notWritten(setting+"="+text, scope))
			}
		}
	}
	unused("--dns-server", t.Names.Servers)
	unused("--dns-view", t.Names.Views)
	servers, _ := t.Names.servers()
	views, _ := t.Names.views()
	if len(t.Scopes) > 1 && servers[internalScope] == servers[externalScope] && views[internalScope] == views[externalScope] {
		errs = append(errs, fmt.Errorf("--dns-server=external=%s: the scopes would write the same records: "+
			"give each a server of its own, or a view with --dns-view", servers[externalScope]))
	}
	return errs
}

// checkScopes reports which values of a setting are no scopes, or are there twice.
func checkScopes(setting string, scopes []string) (errs []error) {
	for i, scope := range scopes {
		switch {
		case scope != internalScope && scope != externalScope:
			errs = append(errs, fmt.Errorf("%s=%s: not internal or external", setting, scope))
		case slices.Contains(scopes[:i], scope):
			errs = append(errs, fmt.Errorf("%s=%s: is given twice: leave one out", setting, scope))
		}
	}
	return errs
}

// notWritten is what is wrong with a setting for a scope that is not used.
func notWritten(setting, scope string) error {
	return fmt.Errorf("%s: scope %s is not written: add it with --dns-scope, or leave this out", setting, scope)
}

// resolvers are the authoritative servers that are asked what they answer.
type resolvers struct {
	Verify []string `name:"verify-dns" placeholder:"SCOPE=HOST[:PORT]" help:"Authoritative DNS servers of a scope that are asked whether a change has reached them; a list or repeated, several servers of a scope as in internal=192.0.2.53,192.0.2.54:5353. Port 53 without one."`
}

// servers returns host:port of the servers of each scope, as they were given.
func (v resolvers) servers() (map[string][]string, error) {
	servers, err := verify.ParseServers(v.Verify)
	if err != nil {
		return nil, fmt.Errorf("--verify-dns: %w", err)
	}
	return servers, nil
}

func (v resolvers) check(scopes []string) (errs []error) {
	servers, err := v.servers()
	if err != nil {
		errs = append(errs, err)
	}
	for _, scope := range slices.Sorted(maps.Keys(servers)) {
		switch {
		case scope != internalScope && scope != externalScope:
			errs = append(errs, fmt.Errorf("--verify-dns=%s=%s: scope %q is not internal or external", scope, servers[scope][0], scope))
		case !slices.Contains(scopes, scope):
			errs = append(errs, notWritten("--verify-dns="+scope+"="+servers[scope][0], scope))
		}
	}
	return errs
}
