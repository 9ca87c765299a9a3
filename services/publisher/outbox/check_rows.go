package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// snapshot looks whether the function can do its work at all: its owner needs
// rights on Kea's tables, and nobody may have them locked.
func (c *checker) snapshot(ctx context.Context) error {
	refused, err := c.attempt(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT FROM keastream.snapshot('{}')`)
		return err
	})
	switch {
	case err != nil:
		return err
	case refused == nil:
		c.hasHosts = true
	case isLocked(refused):
		holders, err := c.texts(ctx, `
			SELECT DISTINCT format('%s (pid %s)', a.application_name, a.pid)
			  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
			 WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			   AND c.relnamespace = to_regnamespace('public') AND c.relname IN ('hosts', 'ipv6_reservations')`)
		if err != nil {
			return err
		}
		c.find("locked", Problem, "let it commit, or end it: SELECT pg_terminate_backend(PID)",
			"Kea's tables are locked, and nobody can read them: %s", strings.Join(holders, ", "))
	default:
		refusal, ok := errors.AsType[*pgconn.PgError](refused)
		if !ok {
			return refused
		}
		c.find("snapshot", Problem, installRemedy+": it gives keastream_owner its rights on Kea's tables again",
			"reservations cannot be read: %s", refusal.Message)
	}
	return nil
}

// remedies are for what decodeState leaves out, by the word before the colon.
var remedies = map[string]string{
	"identifier": "give hosts.dhcp_identifier a shorter value: what has the same beginning cannot be told apart",
	"hostname":   "write hosts.hostname in ASCII: DNS takes letters, digits and hyphens",
	"ip":         "correct hosts.ipv4_address, a number from 1 to 4294967295, or NULL for none: '192.0.2.1'::inet - '0.0.0.0'::inet",
	"ipv6":       "correct ipv6_reservations.address",
}

// rows looks for those that lose something when they are published.
func (c *checker) rows(ctx context.Context) error {
	if !c.hasHosts {
		return nil
	}
	rows, err := c.tx.Query(ctx, `SELECT host_id::bigint, state FROM keastream.snapshot(NULL) ORDER BY host_id`)
	if err != nil {
		return err
	}
	type loss struct {
		hosts   []int64
		example string
	}
	losses := make(map[string]loss)
	var hostID int64
	var state []byte
	_, err = pgx.ForEachRow(rows, []any{&hostID, &state}, func() error {
		r, err := decodeState("", hostID, state)
		if err != nil {
			return err
		}
		invalid := r.Invalid
		if c.encoding != "UTF8" && strings.Contains(r.Hostname, "?") { // made by keastream.readable
			invalid = append(invalid, fmt.Sprintf("hostname: %q has ? for characters that are not ASCII, in a database of encoding %s", r.Hostname, c.encoding))
		}
		for _, text := range invalid {
			field, _, _ := strings.Cut(text, ":")
			l := losses[field]
			if n := len(l.hosts); n == 0 || l.hosts[n-1] != hostID {
				l.hosts = append(l.hosts, hostID)
			}
			if l.example == "" {
				l.example = text
			}
			losses[field] = l
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, field := range []string{"identifier", "hostname", "ip", "ipv6"} {
		l, ok := losses[field]
		if !ok {
			continue
		}
		named := make([]string, 0, c.o.Examples)
		for _, id := range l.hosts[:min(len(l.hosts), c.o.Examples)] {
			named = append(named, fmt.Sprint(id))
		}
		if len(l.hosts) > len(named) {
			named = append(named, "…")
		}
		c.find("rows_"+field, Warning, remedies[field], "%d reservations lose something when they are published, host_id %s (%s)",
			len(l.hosts), strings.Join(named, ", "), l.example)
	}
	return nil
}
