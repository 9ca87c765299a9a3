package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// clientID is the identifier type of the steady rows. No other row has it, and
// the other writers leave it alone.
const clientID = 3

// insertSteady gives a row the subnet that it always has: so the two rows of one
// device are known to be the halves of a change. Its version is in the other one.
// The address of IPv6 comes with it, as Kea inserts both in one transaction.
const insertSteady = `WITH added AS (INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, dhcp6_subnet_id, ipv4_address, hostname)
	VALUES ($1, $2, 1, ` + sqlVersion + `, $3, $4) RETURNING host_id, dhcp6_subnet_id)` + withSteadyAddress

// insertChosen does it with a host_id that is lower than the one before.
const insertChosen = `WITH added AS (INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, dhcp6_subnet_id, ipv4_address, hostname)
	VALUES (1000000000 - ` + sqlVersion + `, $1, $2, 1, ` + sqlVersion + `, $3, $4) RETURNING host_id, dhcp6_subnet_id)` + withSteadyAddress

const withSteadyAddress = `,
	address AS (INSERT INTO ipv6_reservations (address, prefix_len, type, dhcp6_iaid, host_id) SELECT $5::inet, 128, 0, 1, host_id FROM added)
	SELECT host_id, dhcp6_subnet_id FROM added`

// steadyRow are the parameters of both.
func steadyRow(r *rand.Rand, i int) []any {
	return []any{[]byte(steadyHostname(i)), clientID, address(r), steadyHostname(i), steadyAddress(i)}
}

// sqlTouch changes a row that is there for nothing else.
var sqlTouch = fmt.Sprintf(`
	INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) SELECT 'touched', %[1]d
	 WHERE NOT EXISTS (SELECT FROM hosts WHERE dhcp_identifier_type = %[1]d AND dhcp_identifier = 'touched');
	UPDATE hosts SET dhcp6_subnet_id = `+sqlVersion+` WHERE dhcp_identifier_type = %[1]d AND dhcp_identifier = 'touched'`, clientID)

// steadyActions happen to the steady rows alone.
var steadyActions = []action{
	{"steady: Kea's update in one transaction", 3, steadily(1, renew(false))},
	{"steady: Kea's update in two transactions", 3, steadily(1, renewSlowly)},
	{"steady: address move", 2, steadily(1, move)},
	{"steady: swap of addresses", 2, steadily(2, exchange)},
	{"steady: deleted and added with a chosen host_id", 2, steadily(1, renew(true))},
}

// steadily does something with n steady rows, and first makes those that may not
// be there.
func steadily(n int, do func(ctx context.Context, w *writer, r *rand.Rand, rows []int) error) func(context.Context, *writer, *rand.Rand) error {
	return func(ctx context.Context, w *writer, r *rand.Rand) error {
		rows := r.Perm(steadyRows)[:n]
		for _, i := range rows {
			if err := w.restore(ctx, r, i); err != nil {
				return err
			}
		}
		return do(ctx, w, r, rows)
	}
}

// restore makes sure that a row is there if it may be gone: the writer has not
// heard what became of a transaction, or somebody truncated the table.
func (w *writer) restore(ctx context.Context, r *rand.Rand, i int) error {
	if !w.steady.isAbsent(i) {
		return nil
	}
	var host int64
	err := w.conn.QueryRow(ctx, `SELECT host_id FROM hosts WHERE dhcp_identifier_type = $1 AND hostname = $2`, clientID, steadyHostname(i)).Scan(&host)
	if errors.Is(err, pgx.ErrNoRows) {
		return w.addSteady(ctx, r, i)
	}
	if err == nil {
		w.steady.isBack(i, host)
	}
	return err
}

// addSteady inserts the row.
func (w *writer) addSteady(ctx context.Context, r *rand.Rand, i int) error {
	var host, v int64
	if err := w.conn.QueryRow(ctx, insertSteady, steadyRow(r, i)...).Scan(&host, &v); err != nil {
		return err
	}
	w.steady.isBack(i, host)
	w.noted(host, "added as %s, version %d", steadyHostname(i), v)
	return nil
}

const deleteSteady = `DELETE FROM hosts WHERE dhcp_identifier_type = $1 AND hostname = $2 RETURNING host_id`

// missed notes that a row is not there: the table was truncated.
func (w *writer) missed(err error, i int) error {
	if errors.Is(err, pgx.ErrNoRows) {
		w.steady.leaves(i)
		return errNothing
	}
	return err
}

// renew deletes a row and adds it with another address, in one transaction.
func renew(chosen bool) func(context.Context, *writer, *rand.Rand, []int) error {
	sql := insertSteady
	if chosen {
		sql = insertChosen
	}
	return func(ctx context.Context, w *writer, r *rand.Rand, rows []int) error {
		i := rows[0]
		var old, fresh, v int64
		err := w.commit(ctx, func(tx pgx.Tx) error {
			if err := tx.QueryRow(ctx, deleteSteady, clientID, steadyHostname(i)).Scan(&old); err != nil {
				return err
			}
			return tx.QueryRow(ctx, sql, steadyRow(r, i)...).Scan(&fresh, &v)
		})
		if err != nil {
			return w.missed(err, i)
		}
		w.steady.isBack(i, fresh)
		w.noted(old, "replaced by host %d in one transaction", fresh)
		w.noted(fresh, "added for host %d, version %d", old, v)
		return nil
	}
}

// renewSlowly does it in two transactions, and waits a while in between for the
// deletion to be published, so that consumers see it.
func renewSlowly(ctx context.Context, w *writer, r *rand.Rand, rows []int) error {
	i := rows[0]
	var old int64
	w.steady.leaves(i)
	if err := w.conn.QueryRow(ctx, deleteSteady, clientID, steadyHostname(i)).Scan(&old); err != nil {
		return w.missed(err, i)
	}
	w.noted(old, "deleted, to be added again")
	seen := false
	for deadline := time.Now().Add(holdDown / 3); !seen && time.Now().Before(deadline); seen = w.observer.sawDeletion(old) {
		pause(ctx, 5*time.Millisecond)
	}
	if err := w.addSteady(ctx, r, i); err != nil {
		return err
	}
	if seen {
		w.coverage.add(w.coverage.reached, caseReadded, 1)
	}
	return nil
}

// move gives a row another address.
func move(ctx context.Context, w *writer, r *rand.Rand, rows []int) error {
	var host int64
	err := w.conn.QueryRow(ctx, `UPDATE hosts SET ipv4_address = $3, dhcp6_subnet_id = `+sqlVersion+`
		WHERE dhcp_identifier_type = $1 AND hostname = $2 RETURNING host_id`, clientID, steadyHostname(rows[0]), address(r)).Scan(&host)
	if err != nil {
		return w.missed(err, rows[0])
	}
	w.noted(host, "moved")
	return nil
}

// exchange swaps the addresses of two rows.
func exchange(ctx context.Context, w *writer, _ *rand.Rand, rows []int) error {
	tag, err := w.conn.Exec(ctx, `UPDATE hosts h SET ipv4_address = o.ipv4_address, dhcp6_subnet_id = `+sqlVersion+`
		FROM hosts o WHERE h.dhcp_identifier_type = $1 AND o.dhcp_identifier_type = $1
		AND (h.hostname, o.hostname) IN (($2, $3), ($3, $2))`, clientID, steadyHostname(rows[0]), steadyHostname(rows[1]))
	if err == nil && tag.RowsAffected() == 0 {
		return errNothing
	}
	return err
}
