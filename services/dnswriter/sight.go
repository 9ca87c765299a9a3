package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/internal/natsconn"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
)

// sight are the settings of all verbs that compare the reservations in the stream
// with what DNS has.
type sight struct {
	NATS      natsconn.Settings `embed:""`
	Appliance appliance         `embed:""`
	Target    target            `embed:""`
	Placing   placing           `embed:""`
	Filter    filter            `embed:""`
}

func (s sight) check() []error {
	return slices.Concat(s.Appliance.check(), s.Target.check(), s.Placing.check(s.Target.Scopes), s.Filter.check())
}

// configs returns what a Reconciler of each scope needs, in the order of the
// setting.
func (s sight) configs(d *daemon.Daemon, client *solidserver.Client, view *events.View, caution caution) ([]reconcile.Config, error) {
	zones, zonesErr := dns.ParseZones(s.Placing.Zones)
	servers, serversErr := s.Target.Names.servers()
	views, viewsErr := s.Target.Names.views()
	policy, policyErr := caution.policy()
	ptr, ptrErr := s.Placing.ptr()
	cares, caresErr := s.Filter.cares()
	if err := errors.Join(zonesErr, serversErr, viewsErr, policyErr, ptrErr, caresErr); err != nil {
		return nil, err
	}
	var all []reconcile.Config
	for _, name := range s.Target.Scopes {
		all = append(all, reconcile.Config{
			Provider: client.Scope(name, servers[name], views[name]),
			View:     view, Zones: zones, Sources: caution.Sources,
			Scope: name, PublicOnly: s.Placing.publicOnly(name), PTR: ptr, Policy: policy, TTL: s.Placing.TTL,
			HoldDown: caution.HoldDown, Cares: cares, Log: d.Log,
		})
	}
	return all, nil
}

// seen is what a verb that looks once works with.
type seen struct {
	scopes  scopes
	view    *events.View
	conn    *nats.Conn
	writers map[string]*solidserver.Scope // by scope; only adopt writes with them
}

// look follows the stream while do looks at a Reconciler of each scope that cannot
// write, and ends with it.
func (s sight) look(ctx context.Context, d *daemon.Daemon, caution caution, do func(context.Context, seen) error) error {
	config := s.Appliance.config(readings * len(s.Target.Scopes))
	config.Log = d.Log
	client, err := solidserver.New(config)
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := s.NATS.Connect(ctx, name, d.Log)
	if err != nil {
		return err
	}
	defer conn.Close()
	view := events.NewView()
	configs, err := s.configs(d, client, view, caution)
	if err != nil {
		return err
	}
	var all scopes
	writers := make(map[string]*solidserver.Scope)
	limit, err := caution.limit()
	if err != nil {
		return err
	}
	documents := bucket.NewReader(conn)
	for _, c := range configs {
		writers[c.Scope], _ = c.Provider.(*solidserver.Scope)
		c.Provider = reconcile.ReadOnly(c.Provider)
		all = append(all, newScope(c, s.braked(c.Scope, brake.Config{Limit: limit, Store: documents, ReadOnly: true})))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var following conc.WaitGroup
	defer following.Wait()
	defer cancel(nil)
	following.Go(func() {
		handlers := all.handlers()
		handlers.Log = d.Log
		if err := events.Watch(ctx, conn, view, handlers); err != nil {
			cancel(fmt.Errorf("follow the stream: %w", err))
		}
	})
	return do(ctx, seen{all, view, conn, writers})
}

// readings is how many operations a scope has under way while it only reads.
const readings = 5

// each does the same for all scopes at a time. The error names the scopes.
func (all scopes) each(do func(i int, s scope) error) error {
	errs := make([]error, len(all))
	var tasks conc.WaitGroup
	for i, s := range all {
		tasks.Go(func() {
			if err := do(i, s); err != nil {
				errs[i] = fmt.Errorf("scope %s: %w", s.name, err)
			}
		})
	}
	tasks.Wait()
	return errors.Join(errs...)
}
