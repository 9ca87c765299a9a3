package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/services/dnswriter/byhand"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
)

// Exit codes of the verb add beside those of every program. They are those of the
// replaced system's dns-add, which scripts ask for.
const (
	exitExists   = 5
	exitNoTarget = 6
	exitNoZone   = 11
)

// addVerb makes one record by hand.
type addVerb struct {
	Name   string `name:"name" short:"n" required:"" env:"-" placeholder:"NAME" help:"Name of the record in the zone, or its complete name."`
	Zone   string `name:"zone" short:"z" required:"" env:"-" placeholder:"ZONE" help:"Zone on the DNS server of the scope."`
	Target string `name:"target" short:"r" required:"" env:"-" placeholder:"TARGET" help:"Address, or for a CNAME the name that it leads to."`
	Type   string `name:"type" short:"t" required:"" env:"-" placeholder:"TYPE" help:"A, AAAA or CNAME."`
	Scope  string `name:"scope" short:"c" required:"" env:"-" placeholder:"SCOPE" help:"internal or external."`
	TTL    uint32 `name:"ttl" default:"600" help:"TTL of the record in seconds, 5 to 604800 (default: ${default})."`
	DryRun bool   `name:"dry-run" aliases:"dryrun-only" env:"-" help:"Do all checks, print what would be done, and write nothing."`

	Appliance appliance   `embed:""`
	Names     serverNames `embed:""`
}

// Help is shown by --help of the verb.
func (addVerb) Help() string {
	return fmt.Sprintf(`The record gets no mark: keastream does not own it, and never changes or removes it.
It is refused if anything stands at the name. The target of a CNAME must lead to an address.

Exit codes: 0 created, or with --dry-run it would be; 1 failed, or it is not known whether it
was created; 2 wrong settings; %d the name exists; %d the target of a CNAME does not resolve;
%d the zone was not found.`, exitExists, exitNoTarget, exitNoZone)
}

// Validate reports every setting that cannot work.
func (v addVerb) Validate() error {
	errs := append(v.Appliance.check(), v.Names.check()...)
	if v.Scope != "" {
		errs = append(errs, checkScopes("--scope", []string{v.Scope})...)
	}
	if v.TTL < 5 || v.TTL > 604800 {
		errs = append(errs, fmt.Errorf("--ttl=%d: must be from 5 to 604800 seconds", v.TTL))
	}
	if v.Name != "" && v.Zone != "" && v.Target != "" && v.Type != "" { // else that is what is wrong
		if _, err := v.request(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (v addVerb) request() (byhand.Request, error) {
	return byhand.NewRequest(v.Name, v.Zone, v.Type, v.Target, v.TTL)
}

// Run checks, makes the record and prints what there is then.
func (v *addVerb) Run(ctx context.Context, d *daemon.Daemon) error {
	request, requestErr := v.request()
	servers, serversErr := v.Names.servers()
	views, viewsErr := v.Names.views()
	if err := errors.Join(requestErr, serversErr, viewsErr); err != nil {
		return err
	}
	config := v.Appliance.config(1)
	config.Log = d.Log
	client, err := solidserver.New(config)
	if err != nil {
		return err
	}
	defer client.Close()
	adder := byhand.Adder{Scope: client.Scope(v.Scope, servers[v.Scope], views[v.Scope])}
	if err := adder.Check(ctx, request); err != nil {
		return withCode(err)
	}
	rec := request.Record
	what := fmt.Sprintf("%s record: %s -> %s (scope: %s)", rec.Type, rec.Name, rec.Value, v.Scope)
	if v.DryRun {
		fmt.Fprintf(d.Out, "Would create %s\nThe checks are passed, nothing was written.\n", what)
		return nil
	}
	state, err := adder.Add(ctx, request)
	if err != nil {
		return withCode(err)
	}
	fmt.Fprintf(d.Out, "Created %s\nIt is not keastream's: it stays as it is until a person changes or removes it.\n", what)
	switch state {
	case byhand.Accepted:
		fmt.Fprintln(d.Out, "SOLIDserver has accepted it and has not published it yet.")
	case byhand.Unread:
		fmt.Fprintln(d.Out, "Whether SOLIDserver has published it could not be read.")
	}
	return nil
}

// withCode gives an error the exit code that stands for it.
func withCode(err error) error {
	for _, known := range []struct {
		err  error
		code int
	}{{byhand.ErrExists, exitExists}, {byhand.ErrNoTarget, exitNoTarget}, {byhand.ErrNoZone, exitNoZone}} {
		if errors.Is(err, known.err) {
			return daemon.Exit(known.code, err)
		}
	}
	return err
}
