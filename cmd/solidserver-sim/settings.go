package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/solidsim"
)

// cli are the flags. There is one thing to do, and so no verb.
type cli struct {
	Daemon daemon.Settings `embed:""`

	Listen        string        `name:"listen" default:"127.0.0.1:8443" placeholder:"HOST:PORT" help:"Address of the API (default: ${default}). The host stands in the certificate. Port 0: any free one, see the log."`
	DNSListen     []string      `name:"dns-listen" default:"127.0.0.1:8053" placeholder:"[SERVER=]HOST:PORT" help:"Address on which a DNS server answers, UDP and TCP: by its name, by SERVER/VIEW if it has several views, or that of the first one (default: ${default}). All others take free ports on 127.0.0.1, see the log."`
	Servers       string        `name:"servers" placeholder:"FILE" help:"DNS servers, their members, views and zones, as JSON (default: two, with --zones). The README beside the program describes it."`
	Control       string        `name:"control" placeholder:"HOST:PORT" help:"Address of the control endpoint, on loopback: counts of calls, faults (default: none). The README beside the program describes it."`
	Zones         []string      `name:"zones" default:"site.com" placeholder:"ZONE" help:"Zones of both DNS servers (default: ${default}). Reverse zones are given like the others: 2.0.192.in-addr.arpa."`
	Users         []string      `name:"users" default:"ipmadmin:admin" placeholder:"NAME:PASSWORD" help:"Users of the API (default: ${default}). For tests only: arguments can be read by everybody on this host."`
	Tokens        []string      `name:"tokens" placeholder:"USER:ID:SECRET" help:"API tokens: calls signed with one have the rights of its user (default: none)."`
	Deny          []string      `name:"deny" placeholder:"USER:SERVICE" help:"Services that a user has no right to; * stands for any part of a name: ipmadmin:member_* (default: none)."`
	Latency       time.Duration `name:"latency" default:"20ms" placeholder:"DURATION" help:"How long each call of the API takes (default: ${default}). Calls run in parallel; level debug logs each."`
	PushDelay     time.Duration `name:"push-delay" default:"0s" placeholder:"DURATION" help:"How long it takes until a change is pushed to the DNS side; records are pending meanwhile (default: ${default})."`
	Faults        string        `name:"faults" placeholder:"JSON|FILE" help:"What goes wrong, by chance: a plan in JSON or the name of a file with one (default: nothing). The README beside the program describes it."`
	StateFile     string        `name:"state-file" placeholder:"FILE" help:"Keep all data in this file. One that is there is loaded at the start, in the place of --zones and --servers (default: data is in memory alone)."`
	TLSSelfSigned string        `name:"tls-self-signed" placeholder:"CA.pem" help:"Write the certificate of the CA here. It is new with every start."`

	Switches switches `embed:"" group:"What is not known of the API, and what this one does:"`
}

// switches are solidsim.Options and solidsim.Unknowns as flags.
type switches struct {
	ForbiddenStatus      int           `name:"forbidden-status" default:"403" placeholder:"STATUS" help:"Answer to a call without the right to it: 403 or 400 (default: ${default})."`
	UnknownServiceStatus int           `name:"unknown-service-status" default:"404" placeholder:"STATUS" help:"Answer for a service that does not exist: 404 or 400 (default: ${default})."`
	Unauthorized         string        `name:"unauthorized" default:"object" placeholder:"FORM" help:"Answer to a caller who is not known (default: ${default}): object is a 401 with an error object, text a 401 with text, disconnected a 200 with {\"connected\":false}."`
	TokenWindow          time.Duration `name:"token-window" default:"5m" placeholder:"DURATION" help:"How far the clock of a call with a token may be off; beyond it the answer is 412 (default: ${default})."`
	RefuseReplays        bool          `name:"refuse-replays" help:"Answer 401 when the signature of a token comes a second time."`
	MaxPage              int           `name:"max-page" default:"0" placeholder:"ROWS" help:"Most rows in one answer of a list, whatever limit says; 0 is no limit (default: ${default})."`

	NoView          string `name:"no-view" placeholder:"first|all" help:"Write that names no view, on a server with views: into the first view, or into all (default: it is refused)."`
	WriteOnMember   bool   `name:"write-on-member" help:"Let records be written on a member of a SMART."`
	EditedStatus    int    `name:"edited-status" default:"200" placeholder:"STATUS" help:"Answer to a POST that edited what was there: 200 or 201 (default: ${default})."`
	EditDoubles     bool   `name:"edit-doubles" help:"Let an edit make two records equal."`
	CNAMEBesideData bool   `name:"cname-beside-data" help:"Let a CNAME stand beside other records."`
	ListApex        bool   `name:"list-apex" help:"List the SOA and NS records of zones as rows."`
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
		Control:   c.Control,
		Zones:     c.Zones,
		Latency:   c.Latency,
		PushDelay: c.PushDelay,
		StateFile: c.StateFile,
		Options: solidsim.Options{
			ForbiddenStatus:      c.Switches.ForbiddenStatus,
			UnknownServiceStatus: c.Switches.UnknownServiceStatus,
			Unauthorized:         solidsim.UnauthorizedForm(c.Switches.Unauthorized),
			TokenWindow:          c.Switches.TokenWindow,
			RefuseReplays:        c.Switches.RefuseReplays,
			MaxPage:              c.Switches.MaxPage,
		},
		Unknowns: solidsim.Unknowns{
			NoView:          solidsim.NoView(c.Switches.NoView),
			WriteOnMember:   c.Switches.WriteOnMember,
			EditedStatus:    c.Switches.EditedStatus,
			EditDoubles:     c.Switches.EditDoubles,
			CNAMEBesideData: c.Switches.CNAMEBesideData,
			ListApex:        c.Switches.ListApex,
		},
	}
	var errs [6]error
	cfg.Users, errs[0] = users(c.Users)
	cfg.Tokens, errs[1] = tokens(c.Tokens)
	cfg.Denied, errs[2] = denied(c.Deny)
	cfg.Faults, errs[3] = faults(c.Faults)
	cfg.DNSListen, errs[4] = dnsListen(c.DNSListen)
	if cfg.Servers, errs[5] = servers(c.Servers); c.Servers != "" && slices.Equal(c.Zones, []string{"site.com"}) {
		cfg.Zones = nil // the default of the flag
	}
	return cfg, errors.Join(append(errs[:], cfg.Validate())...)
}

// dnsListen reads [SERVER=]HOST:PORT. No address has an equals sign.
func dnsListen(pairs []string) (map[string]string, error) {
	result := make(map[string]string)
	for _, pair := range pairs {
		at := strings.LastIndexByte(pair, '=')
		name := pair[:max(0, at)]
		if _, found := result[name]; found {
			return nil, fmt.Errorf("--dns-listen=%s: the DNS server has an address already", pair)
		}
		result[name] = pair[at+1:]
	}
	return result, nil
}

// servers reads the file with the description of all DNS servers.
func servers(path string) ([]solidsim.Server, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--servers: %w", err)
	}
	described, err := solidsim.ParseServers(text)
	if err != nil {
		return nil, fmt.Errorf("--servers: %s: %w", path, err)
	}
	return described, nil
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

func tokens(triples []string) (map[string]solidsim.Token, error) {
	result := make(map[string]solidsim.Token)
	for i, triple := range triples {
		parts := strings.SplitN(triple, ":", 3)
		if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
			// A part may be a secret.
			return nil, fmt.Errorf("--tokens: number %d is not user:id:secret", i+1)
		}
		result[parts[1]] = solidsim.Token{User: parts[0], Secret: parts[2]}
	}
	return result, nil
}

func denied(pairs []string) (map[string][]string, error) {
	result := make(map[string][]string)
	for _, pair := range pairs {
		user, service, found := strings.Cut(pair, ":")
		if !found {
			return nil, fmt.Errorf("--deny=%s: want user:service, as in ipmadmin:member_list", pair)
		}
		result[user] = append(result[user], service)
	}
	return result, nil
}

// faults reads a plan from the text of the flag or from the file that it names.
func faults(text string) (*solidsim.FaultPlan, error) {
	if text == "" {
		return nil, nil
	}
	plan := []byte(text)
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		var err error
		if plan, err = os.ReadFile(text); err != nil {
			return nil, fmt.Errorf("--faults: want a plan in JSON or the name of a file with one: %w", err)
		}
	}
	parsed, err := solidsim.ParseFaultPlan(plan)
	if err != nil {
		return nil, fmt.Errorf("--faults: %w", err)
	}
	return &parsed, nil
}
