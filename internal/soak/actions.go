package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// sqlVersion is in every statement that inserts or changes a row: a number that
// grows with each state of it, in the order of the commits, so that whoever
// sees the states can tell which is the older one. It stands in a column that
// is published. An UPDATE computes it before it waits for the row's lock, and
// in READ COMMITTED, when the row was changed meanwhile, again under the lock;
// TestVersionsGrowInTheOrderOfCommits shows it. An INSERT of a chosen host_id
// needs sqlChosen before it.
const sqlVersion = `nextval('soak.version')`

// sqlChosen lets transactions that insert the same chosen host_id wait for each
// other before they draw a version.
const sqlChosen = `SELECT pg_advisory_xact_lock(7, $1::int)`

// action is one thing that happens to the rows of a site.
type action struct {
	name   string
	weight int
	do     func(ctx context.Context, w *writer, r *rand.Rand) error
}

var actions = []action{
	{"rack-in of 40 or rack-out", 2, rack},
	{"address move or rename", 30, one(change)},
	{"IPv6 address", 12, one(v6)},
	{"Kea's update: delete and add", 10, keaUpdate},
	{"deletion", 6, remove},
	{"the same host_id again", 10, again},
	{"swap of addresses", 4, swap},
	{"hostile values", 4, one(hostile)},
	{"bulk statement", 2, bulk},
	{"rollback", 4, rollback},
	{"savepoint", 4, savepoint},
	{"late commit", 6, lateCommit},
}

// draw returns an action by its weight.
func draw(actions []action, r *rand.Rand) action {
	sum := 0
	for _, a := range actions {
		sum += a.weight
	}
	n := r.IntN(sum)
	for _, a := range actions {
		if n -= a.weight; n < 0 {
			return a
		}
	}
	panic("the weights do not add up")
}

// one runs an edit of one row in a transaction of its own.
func one(edit func(context.Context, pgx.Tx, *rand.Rand, int64) (string, error)) func(context.Context, *writer, *rand.Rand) error {
	return func(ctx context.Context, w *writer, r *rand.Rand) error {
		var host int64
		var what string
		err := w.commit(ctx, func(tx pgx.Tx) (err error) {
			if host, err = pick(ctx, tx, r); err != nil {
				return err
			}
			what, err = edit(ctx, tx, r, host)
			return err
		})
		if err == nil {
			w.noted(host, "%s", what)
		}
		return err
	}
}

// change moves a row to another address, or renames it.
func change(ctx context.Context, tx pgx.Tx, r *rand.Rand, host int64) (string, error) {
	if r.IntN(2) == 0 {
		return edited(ctx, tx, "moved", `UPDATE hosts SET ipv4_address = $2, dhcp4_subnet_id = `+sqlVersion+` WHERE host_id = $1 RETURNING dhcp4_subnet_id`, host, address(r))
	}
	return edited(ctx, tx, "renamed", `UPDATE hosts SET hostname = $2, dhcp4_subnet_id = `+sqlVersion+` WHERE host_id = $1 RETURNING dhcp4_subnet_id`, host, hostname(r))
}

// edited runs a statement that returns the version of the one row it changed.
func edited(ctx context.Context, tx pgx.Tx, what, sql string, args ...any) (string, error) {
	var v int64
	err := tx.QueryRow(ctx, sql, args...).Scan(&v)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", errNothing // deleted while we waited for it
	}
	return fmt.Sprintf("%s, version %d", what, v), err
}

// bump gives a row that changed elsewhere its next version.
func bump(ctx context.Context, tx pgx.Tx, what string, host int64) (string, error) {
	return edited(ctx, tx, what, `UPDATE hosts SET dhcp4_subnet_id = `+sqlVersion+` WHERE host_id = $1 RETURNING dhcp4_subnet_id`, host)
}

// v6 adds, changes or removes the IPv6 addresses of a row; sometimes that is
// all, and the row itself does not change.
func v6(ctx context.Context, tx pgx.Tx, r *rand.Rand, host int64) (what string, err error) {
	switch r.IntN(4) {
	case 0:
		what = "lost its IPv6 addresses"
		_, err = tx.Exec(ctx, `DELETE FROM ipv6_reservations WHERE host_id = $1`, host)
	case 1:
		what = "changed an IPv6 address"
		_, err = tx.Exec(ctx, `UPDATE ipv6_reservations SET address = $2 WHERE reservation_id =
			(SELECT min(reservation_id) FROM ipv6_reservations WHERE host_id = $1)`, host, address6(r))
	default:
		what = "got an IPv6 address"
		_, err = tx.Exec(ctx, insert6, host, address6(r), 2*(r.IntN(8)/7))
	}
	if err != nil || r.IntN(4) == 0 {
		return what, err
	}
	return bump(ctx, tx, what, host)
}

// hostile stores what nobody should.
func hostile(ctx context.Context, tx pgx.Tx, r *rand.Rand, host int64) (string, error) {
	const end = `, dhcp4_subnet_id = ` + sqlVersion + ` WHERE host_id = $1 RETURNING dhcp4_subnet_id`
	switch r.IntN(4) {
	case 0:
		names := []string{"", "..", "a b\tc", `"; DROP TABLE hosts; --`, "ünïcode-é", "{{ lookup('x') }}", "-x-.", "*.site.com", "xn--\u200b", "\\"}
		return edited(ctx, tx, "got a bad name", `UPDATE hosts SET hostname = $2`+end, host, names[r.IntN(len(names))])
	case 1:
		addresses := []int64{0, -1, 1 << 32, 1<<32 - 1, 1 << 62, 1}
		return edited(ctx, tx, "got a bad address", `UPDATE hosts SET ipv4_address = $2`+end, host, addresses[r.IntN(len(addresses))])
	case 2:
		return edited(ctx, tx, "got a long identifier", `UPDATE hosts SET dhcp_identifier = $2, dhcp_identifier_type = 4`+end, host, bytes(r, 1000+r.IntN(1200)))
	default:
		return edited(ctx, tx, "lost name and address", `UPDATE hosts SET hostname = NULL, ipv4_address = NULL`+end, host)
	}
}

const insert = `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
	VALUES ($1, $2, ` + sqlVersion + `, $3, $4) RETURNING host_id, dhcp4_subnet_id`

// insert6 gives a row an address of IPv6 (type 0) or a prefix (type 2).
const insert6 = `INSERT INTO ipv6_reservations (address, prefix_len, type, dhcp6_iaid, host_id) VALUES ($2, 128, $3, 1, $1)`

// rack adds the 40 hosts of a cabinet, in one statement or in many, or takes as
// many away when there are enough.
func rack(ctx context.Context, w *writer, r *rand.Rand) error {
	const units, enough = 40, 300
	cabinet, first, single := r.IntN(50), address(r), r.IntN(2) == 0
	return w.commit(ctx, func(tx pgx.Tx) error {
		var n int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM hosts`).Scan(&n); err != nil {
			return err
		}
		if n > enough {
			tag, err := tx.Exec(ctx, `DELETE FROM hosts WHERE host_id IN
				(SELECT host_id FROM hosts WHERE dhcp_identifier_type <> $3 ORDER BY host_id OFFSET $1 LIMIT $2)`, r.IntN(n-units), units, clientID)
			w.times.note(w.name, "rack-out: %v", tag)
			return err
		}
		if single {
			_, err := tx.Exec(ctx, `WITH added AS (INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp6_subnet_id, ipv4_address, hostname)
				SELECT decode(md5(random()::text), 'hex'), 1, `+sqlVersion+`, $1 + i, 'us3-cab' || $2::int || '-ru' || i || '-idrac'
				  FROM generate_series(1, $3::int) i RETURNING host_id)
				INSERT INTO ipv6_reservations (address, prefix_len, type, dhcp6_iaid, host_id)
				SELECT '2001:db8:1::'::inet + host_id, 128, 0, 1, host_id FROM added`, first, cabinet, units)
			w.times.note(w.name, "rack-in by one statement")
			return err
		}
		for i := range units {
			if _, err := tx.Exec(ctx, insert, bytes(r, 6), 0, first+int64(i), fmt.Sprintf("us3-cab%d-ru%d-idrac", cabinet, i+1)); err != nil {
				return err
			}
		}
		w.times.note(w.name, "rack-in by %d statements", units)
		return nil
	})
}

// gap is the time between the deletion and the addition of what is one change
// to a person: none, milliseconds, seldom seconds.
func gap(ctx context.Context, r *rand.Rand) {
	switch n := r.IntN(10); {
	case n == 0:
		pause(ctx, time.Duration(500+r.IntN(1500))*time.Millisecond)
	case n < 7:
		pause(ctx, time.Duration(r.IntN(20))*time.Millisecond)
	}
}

// keaUpdate changes a row as Kea's own reservation-update does: it deletes it
// and adds another one.
func keaUpdate(ctx context.Context, w *writer, r *rand.Rand) error {
	var old, fresh, v int64
	var identifier []byte
	var kind int
	err := w.commit(ctx, func(tx pgx.Tx) (err error) {
		if old, err = pick(ctx, tx, r); err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `DELETE FROM hosts WHERE host_id = $1 RETURNING dhcp_identifier, dhcp_identifier_type`, old).Scan(&identifier, &kind)
		if errors.Is(err, pgx.ErrNoRows) {
			return errNothing
		}
		return err
	})
	if err != nil {
		return err
	}
	w.noted(old, "deleted, to be added again")
	gap(ctx, r)
	err = w.commit(ctx, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, insert, identifier, kind, address(r), hostname(r)).Scan(&fresh, &v); err != nil || r.IntN(2) == 0 {
			return err
		}
		_, err := tx.Exec(ctx, insert6, fresh, address6(r), 0)
		return err
	})
	if err != nil {
		return err
	}
	w.noted(fresh, "added for host %d, version %d", old, v)
	return nil
}

// remove deletes a row.
func remove(ctx context.Context, w *writer, r *rand.Rand) error {
	var host int64
	err := w.commit(ctx, func(tx pgx.Tx) (err error) {
		if host, err = pick(ctx, tx, r); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM hosts WHERE host_id = $1`, host)
		return err
	})
	if err == nil {
		w.noted(host, "deleted")
		w.gone = append(w.gone[max(0, len(w.gone)-19):], host)
	}
	return err
}

// again makes a row with the host_id of one that was deleted: at once, a little
// later, or long ago.
func again(ctx context.Context, w *writer, r *rand.Rand) error {
	var host int64
	identifier, ip, name := bytes(r, 6), address(r), hostname(r)
	add := func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlChosen, host); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
			VALUES ($1, $2, 0, `+sqlVersion+`, $3, $4)`, host, identifier, ip, name)
		return err
	}
	together := r.IntN(2) == 0
	if len(w.gone) > 0 && r.IntN(2) == 0 {
		i := r.IntN(len(w.gone))
		host = w.gone[i]
		w.gone = slices.Delete(w.gone, i, i+1)
	} else {
		err := w.commit(ctx, func(tx pgx.Tx) (err error) {
			if host, err = pick(ctx, tx, r); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `DELETE FROM hosts WHERE host_id = $1`, host); err != nil || !together {
				return err
			}
			return add(tx)
		})
		if err != nil {
			return err
		}
		if together {
			w.noted(host, "deleted and made again at once")
			return nil
		}
		w.noted(host, "deleted, to be made again")
		gap(ctx, r)
	}
	err := w.commit(ctx, add)
	if err == nil {
		w.noted(host, "made again")
	}
	return err
}

// swap exchanges the addresses of two rows.
func swap(ctx context.Context, w *writer, r *rand.Rand) error {
	var a, b int64
	err := w.commit(ctx, func(tx pgx.Tx) (err error) {
		if a, err = pick(ctx, tx, r); err != nil {
			return err
		}
		if b, err = pick(ctx, tx, r); err != nil {
			return err
		}
		if a == b {
			return errNothing
		}
		_, err = tx.Exec(ctx, `UPDATE hosts h SET ipv4_address = o.ipv4_address, dhcp4_subnet_id = `+sqlVersion+`
			FROM hosts o WHERE (h.host_id, o.host_id) IN (($1, $2), ($2, $1))`, a, b)
		return err
	})
	if err == nil {
		w.noted(a, "swapped addresses with host %d", b)
		w.noted(b, "swapped addresses with host %d", a)
	}
	return err
}

// bulk changes many rows in one statement.
func bulk(ctx context.Context, w *writer, r *rand.Rand) error {
	n := r.IntN(5)
	tag, err := w.conn.Exec(ctx, `UPDATE hosts SET hostname = coalesce(nullif(left(hostname, 40), ''), 'x') || $2::text, dhcp4_subnet_id = `+sqlVersion+`
		WHERE host_id % 5 = $1 AND dhcp_identifier_type <> $3`, n, fmt.Sprint(r.IntN(10)), clientID)
	w.times.note(w.name, "every host_id with remainder %d of 5: %v", n, tag)
	return err
}

var errRollback = errors.New("changed its mind")

// rollback changes two rows and takes it back.
func rollback(ctx context.Context, w *writer, r *rand.Rand) error {
	err := w.commit(ctx, func(tx pgx.Tx) error {
		for range 2 {
			host, err := pick(ctx, tx, r)
			if err != nil {
				return err
			}
			if _, err := change(ctx, tx, r, host); err != nil {
				return err
			}
		}
		pause(ctx, time.Duration(r.IntN(50))*time.Millisecond)
		return errRollback
	})
	if errors.Is(err, errRollback) {
		return nil
	}
	return err
}

// savepoint changes three rows and takes the second change back.
func savepoint(ctx context.Context, w *writer, r *rand.Rand) error {
	var kept [2]int64
	err := w.commit(ctx, func(tx pgx.Tx) (err error) {
		if kept[0], err = pick(ctx, tx, r); err != nil {
			return err
		}
		if _, err := change(ctx, tx, r, kept[0]); err != nil {
			return err
		}
		err = pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
			host, err := pick(ctx, inner, r)
			if err == nil {
				_, err = inner.Exec(ctx, `DELETE FROM hosts WHERE host_id = $1`, host)
			}
			return errors.Join(err, errRollback)
		})
		if err != nil && !errors.Is(err, errRollback) {
			return err
		}
		if kept[1], err = pick(ctx, tx, r); err != nil {
			return err
		}
		_, err = change(ctx, tx, r, kept[1])
		return err
	})
	if err == nil {
		w.noted(kept[0], "changed before a savepoint")
		w.noted(kept[1], "changed after it")
	}
	return err
}

// sqlLastMark is the highest mark that was drawn.
const sqlLastMark = `SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('keastream.outbox', 'seq')::regclass), 0)`

// lateCommit changes a row and commits after others have committed, so that
// marks with higher numbers are published before its own can be seen.
func lateCommit(ctx context.Context, w *writer, r *rand.Rand) error {
	var host, mark int64
	var what string
	err := w.commit(ctx, func(tx pgx.Tx) (err error) {
		if host, err = pick(ctx, tx, r); err != nil {
			return err
		}
		if what, err = change(ctx, tx, r, host); err != nil {
			return err
		}
		if mark, err = w.world.ask(ctx, sqlLastMark); err != nil { // not below its own
			return err
		}
		pause(ctx, time.Duration(100+r.IntN(900))*time.Millisecond)
		return nil
	})
	if err != nil {
		return err
	}
	late := w.observer.newest.Load() > mark
	if late {
		w.coverage.add(w.coverage.reached, caseLateCommit, 1)
	}
	w.noted(host, "%s, committed late (after higher marks: %v)", what, late)
	return nil
}

func address(r *rand.Rand) int64 { return 10<<24 + r.Int64N(1<<24) }

// address6 is an address in one of the ways to write it, or one that is no host's.
func address6(r *rand.Rand) string {
	n := r.IntN(1 << 16)
	switch r.IntN(8) {
	case 0, 1:
		return fmt.Sprintf("2001:DB8:0:0::%X", n)
	case 2, 3:
		return fmt.Sprintf("2001:db8::1:%04x", n)
	case 4:
		bad := []string{"::", "::1", "ff02::1", "fe80::1", "::ffff:10.1.2.3"}
		return bad[n%len(bad)]
	}
	return fmt.Sprintf("2001:db8::%x", n)
}

func hostname(r *rand.Rand) string {
	return fmt.Sprintf("us3-cab%d-ru%d-idrac", r.IntN(50), r.IntN(48)+1)
}

func bytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	return b
}
