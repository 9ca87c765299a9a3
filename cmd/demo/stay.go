package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/solidsim"
)

// stay prints commands to paste and shows every event until ctx ends.
func stay(ctx context.Context, s *e2e.Stack) error {
	cfg, err := pgx.ParseConfig(s.PG.DSN(e2e.Database, pgtest.Kea))
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(s.Sim.DNSAddr(solidsim.InternalServer))
	if err != nil {
		return err
	}
	psql := fmt.Sprintf("PGPASSWORD=%s psql -h %s -p %d -U %s -d %s -c", cfg.Password, cfg.Host, cfg.Port, cfg.User, cfg.Database)
	dig := fmt.Sprintf("dig @%s -p %s +noall +answer us3-cab10-ru30-idrac.%s", host, port, e2e.Zone)
	fmt.Printf(`
It goes on running. Paste into another terminal:

%s "INSERT INTO hosts (dhcp_identifier_type, dhcp_identifier, dhcp4_subnet_id, ipv4_address, hostname) VALUES (1, decode('aabbccdd0030', 'hex'), 1, ('172.30.19.130'::inet - '0.0.0.0'::inet), 'us3-cab10-ru30-idrac');"
%s
cat %s
%s "UPDATE hosts SET ipv4_address = ('172.30.19.131'::inet - '0.0.0.0'::inet) WHERE hostname = 'us3-cab10-ru30-idrac';"
%s "DELETE FROM hosts WHERE hostname = 'us3-cab10-ru30-idrac';"
nats -s nats://%s sub 'kea.>'
nats -s nats://%s sub 'kea.>' --stream KEA --last-per-subject

`, psql, dig, filepath.Join(s.OutputDir, "us3-cab10-discovery.yml"), psql, psql, s.NATSAddr, s.NATSAddr)
	for _, p := range s.Processes {
		fmt.Printf("tail -f %s\n", p.LogFile)
	}
	fmt.Println("\nEvents, as they come (Ctrl-C ends the demo):")
	messages, err := s.NATS.SubscribeSync("kea.reservations.>")
	if err != nil {
		return err
	}
	for {
		msg, err := messages.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%s  %s %s\n", time.Now().Format("15:04:05.000"), msg.Subject, msg.Data)
	}
}
