package soak

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/solidsim"
)

// dnswriter is one of the two DNS writers, with its ways to NATS and to SOLIDserver.
type dnswriter struct {
	*measured
	nats []*route
	api  *route
}

const (
	// holdDown is that of the DNS writer.
	holdDown = 1500 * time.Millisecond
	ttl      = 600
	apiUser  = "keastream"
	password = "simulated"

	// Members of the SMART.
	firstMember, secondMember = "ns1.site.com", "ns2.site.com"
)

// startSOLIDserver starts the simulator: a SMART with two members, to which it
// pushes what is written.
func (w *world) startSOLIDserver(ctx context.Context) (err error) {
	smart := solidsim.Server{Name: solidsim.InternalServer, Members: []string{firstMember, secondMember}}
	for _, zone := range append(e2e.ReverseZones(), e2e.Zone) {
		smart.Zones = append(smart.Zones, solidsim.Zone{Name: zone})
	}
	w.solidserver, err = solidsim.Start(ctx, solidsim.Config{
		Servers: []solidsim.Server{smart}, Users: map[string]string{apiUser: password},
	})
	if err != nil {
		return fmt.Errorf("start the SOLIDserver simulator: %w", err)
	}
	return os.WriteFile(w.path("solidserver-ca.pem"), w.solidserver.CAPEM(), 0o600)
}

// leaseName is the lease of both: their ways to SOLIDserver are not the same, so it
// does not follow from the other settings.
const leaseName = "soak"

// metricLeads says of a DNS writer that it holds the lease.
const metricLeads = `keastream_dns_lease_held{lease="` + leaseName + `"}`

// leaseTerm is for how long the others wait for one that leads and says nothing. It
// is no setting.
const leaseTerm = 12 * time.Second

// The limits of the brake: with one of them it stops nothing, since there are not so
// many names, with the other one a part of what happens.
const (
	wideLimit   = "1000,100%,1000"
	narrowLimit = "100,0%,100"
)

// describeDNSWriter lays down a DNS writer and opens its routes.
func (w *world) describeDNSWriter(number int, o Options) (err error) {
	name := fmt.Sprintf("dnswriter-%d", number)
	d := new(dnswriter)
	servers := strings.Split(strings.ReplaceAll(w.natsURL, "nats://", ""), ",")
	if d.nats, err = openRoutes(name+"-nats", servers...); err != nil {
		return err
	}
	if d.api, err = newRoute(name+"-api", w.solidserver.Addr()); err != nil {
		return err
	}
	http, err := e2e.FreeAddr()
	if err != nil {
		return err
	}
	args := []string{"run", "--http-addr", http, "--dns-zone", e2e.Zone, "--ttl", fmt.Sprint(ttl), "--lease", leaseName,
		"--hold-down", holdDown.String(), "--sweep", o.Sweep.String(), "--max-removals", o.Limit,
		"--sds-host", d.api.addr, "--sds-ca", w.path("solidserver-ca.pem")}
	for _, r := range d.nats {
		args = append(args, "--nats-url", "nats://"+r.addr)
	}
	d.measured = &measured{Process: e2e.NewProcess(name, o.DNSWriter, w.path(name+".log"),
		[]string{"SDS_USERNAME=" + apiUser, "SDS_PASSWORD=" + password}, args...)}
	d.HTTP = http
	w.dnswriters = append(w.dnswriters, d)
	return nil
}

// listens waits until the process listens to signals, if it was just started: it
// does before it answers on HTTP.
func (d *dnswriter) listens(ctx context.Context) error {
	for deadline := time.Now().Add(recoverLimit); ; pause(ctx, 20*time.Millisecond) {
		conn, err := net.Dial("tcp", d.HTTP)
		switch {
		case err == nil:
			return conn.Close()
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(deadline):
			return fmt.Errorf("the DNS writer does not answer on HTTP: %w", err)
		}
	}
}
