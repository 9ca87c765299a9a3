package outbox

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/pkg/events"
)

// Mark says that a row was changed by a transaction that has committed. It does
// not say how: the state is read when the mark is.
type Mark struct {
	// Seq numbers the marks, with gaps, in the order of the statements and not
	// of the commits.
	Seq int64
	// HostID is nil if any row may have changed (TRUNCATE).
	HostID *int64
	// CreatedAt is the time of the statement by the clock of the database.
	CreatedAt time.Time
}

// Reading is what one snapshot of the database holds, without its rows.
type Reading struct {
	// At is a time right before the snapshot, by the clock of the database.
	At time.Time
	// Marks are ordered by Seq.
	Marks []Mark
	// More says that there are more marks than were asked for.
	More bool
	// All says that every row is read, otherwise only rows with a mark.
	All bool
}

// Query says what Read reads.
type Query struct {
	// Source is written into the reservations.
	Source string
	// Limit is the greatest number of marks to read, if not All.
	Limit int
	// All reads every row and every mark.
	All bool
	// Direct reads every row of Kea's tables themselves, with the rights of the
	// role, and no marks: for a database without the outbox.
	Direct bool
}

// Read reads marks and the states that belong to them in one snapshot, a
// REPEATABLE READ READ ONLY transaction that has ended when Read returns. So a
// state holds every change whose mark was read, and the mark of a change that
// the state does not hold has not been read.
//
// The rows are not collected: use is called once, inside of the transaction,
// and may range over them once, as they come from the server, in no order. A row
// that was asked for and does not come does not exist. If one of the marks has
// no host_id there are no rows: Read with All is called for.
//
// When Read returns an error the rows may have ended early, and what use made of
// them is worth nothing.
func Read(ctx context.Context, conn *pgx.Conn, q Query, use func(rd Reading, rows iter.Seq[events.Reservation])) (rd Reading, err error) {
	rd.All = q.All || q.Direct
	defer func() {
		if err != nil {
			rd, err = Reading{}, errors.Join(err, rollback(ctx, conn))
		}
	}()
	if err := rd.begin(ctx, conn, q); err != nil {
		return rd, fmt.Errorf("read marks: %w", err)
	}
	use(rd, func(yield func(events.Reservation) bool) { err = rd.readHosts(ctx, conn, q, yield) })
	if err != nil {
		return rd, fmt.Errorf("read reservations: %w", err)
	}
	return rd, end(ctx, conn)
}

// ErrRewritten is returned by Read if a table was rewritten, by ALTER TABLE or
// TRUNCATE, after the snapshot had been taken and before the table was read.
// PostgreSQL then shows it without rows, and not as it was ("Caveats" of its
// chapter on concurrency control).
var ErrRewritten = errors.New("a table of Kea's was rewritten while it was read, so its rows were not to be seen; it has to be read again")

// end ends the transaction and says whether what was read in it is true. A
// snapshot has the file that a table had, the function knows the one that it has.
func end(ctx context.Context, conn *pgx.Conn) error {
	var same bool
	var batch pgx.Batch
	batch.Queue(`SELECT bool_and(c.relfilenode = pg_relation_filenode(c.oid))
		  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE n.nspname = 'public' AND c.relname IN ('hosts', 'ipv6_reservations')`).
		QueryRow(func(row pgx.Row) error { return row.Scan(&same) })
	batch.Queue(`commit`)
	switch err := conn.SendBatch(ctx, &batch).Close(); {
	case err != nil:
		return fmt.Errorf("end the reading: %w", err)
	case !same:
		return ErrRewritten
	}
	return nil
}

// begin begins the transaction and reads the time and the marks, on one way to
// the server and back: an event waits for all of them.
func (rd *Reading) begin(ctx context.Context, conn *pgx.Conn, q Query) error {
	var batch pgx.Batch
	batch.Queue(`begin isolation level repeatable read read only`)
	// now() is the time of BEGIN, which lies before the snapshot that the first
	// statement takes: what had committed by then is in the snapshot.
	batch.Queue(`SELECT now()`).QueryRow(func(row pgx.Row) error { return row.Scan(&rd.At) })
	if !q.Direct {
		var limit *int // NULL: all
		if !q.All {
			limit = new(q.Limit + 1)
		}
		batch.Queue(`SELECT seq, host_id::bigint, created_at FROM keastream.outbox ORDER BY seq LIMIT $1`, limit).
			Query(func(rows pgx.Rows) (err error) {
				rd.Marks, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Mark])
				return err
			})
	}
	if err := conn.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	if !q.All && len(rd.Marks) > q.Limit {
		rd.Marks, rd.More = rd.Marks[:q.Limit], true
	}
	return nil
}

// rollback leaves the session outside of a transaction, if there is one still.
func rollback(ctx context.Context, conn *pgx.Conn) error {
	if conn.IsClosed() || conn.PgConn().TxStatus() == 'I' {
		return nil
	}
	_, err := conn.Exec(ctx, "rollback")
	return err
}

// wanted returns the rows that the marks name, nil if all rows are wanted. some
// is false if a mark names none, so that only a full reading will do.
func (rd *Reading) wanted() (ids []int64, some bool) {
	if rd.All {
		return nil, true
	}
	seen := make(map[int64]bool, len(rd.Marks))
	for _, m := range rd.Marks {
		if m.HostID == nil {
			return nil, false
		}
		if !seen[*m.HostID] {
			seen[*m.HostID] = true
			ids = append(ids, *m.HostID)
		}
	}
	return ids, true
}

// readHosts yields the wanted rows until yield has enough.
func (rd *Reading) readHosts(ctx context.Context, conn *pgx.Conn, q Query, yield func(events.Reservation) bool) error {
	ids, some := rd.wanted()
	if !rd.All && (len(ids) == 0 || !some) {
		return nil
	}
	sql, args := `SELECT host_id, state FROM keastream.snapshot($1::bigint[]::integer[])`, []any{ids}
	if q.Direct {
		sql, args = snapshotSQL, nil
	}
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var hostID int64
		var state []byte
		if err := rows.Scan(&hostID, &state); err != nil {
			return err
		}
		r, err := decodeState(q.Source, hostID, state)
		if err != nil {
			return err
		}
		if !yield(r) {
			return nil
		}
	}
	return rows.Err()
}

// Remove deletes exactly the given marks, after what they stand for has been
// published. A mark that is lost to a crash of the server in between comes back
// and is published again.
func Remove(ctx context.Context, conn *pgx.Conn, marks []Mark) error {
	if len(marks) == 0 {
		return nil
	}
	seqs := make([]int64, len(marks))
	for i, m := range marks {
		seqs[i] = m.Seq
	}
	if _, err := conn.Exec(ctx, `DELETE FROM keastream.outbox WHERE seq = ANY($1)`, seqs); err != nil {
		return fmt.Errorf("remove %d marks: %w", len(seqs), err)
	}
	return nil
}

// Position tells which database a connection leads to, and which history of it.
type Position struct {
	// Database is the system identifier of the cluster, "/", and the name of the
	// database. A restored or cloned cluster keeps the identifier.
	Database string
	// Timeline grows when a standby is promoted or a cluster is restored to a
	// point in time.
	Timeline int64
}

// ReadPosition returns the position of the database; any role may ask. It fails
// on a standby.
func ReadPosition(ctx context.Context, conn *pgx.Conn) (Position, error) {
	var p Position
	var timeline *int64
	var standby bool
	err := conn.QueryRow(ctx, positionSQL).Scan(&p.Database, &timeline, &standby)
	if err != nil {
		return Position{}, fmt.Errorf("read the identity of the database: %w", err)
	}
	if standby || timeline == nil {
		return Position{}, fmt.Errorf("the database %s is a standby; give the address of the primary, or several addresses", p.Database)
	}
	p.Timeline = *timeline
	return p, nil
}
