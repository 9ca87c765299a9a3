package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// writers is how many sessions change rows at the same time.
const writers = 5

// writer changes rows as role kea, one action after the other, until it is told
// to stop. What fails is rolled back or not, as the database decides: the rows
// are the truth, not what the writer believes.
type writer struct {
	*run
	name    string
	seed    uint64
	actions []action
	conn    *pgx.Conn

	gone    []int64 // rows that this writer deleted, to make them again
	trouble string  // why the last action failed, "" if it did not
}

// work writes until ctx ends. While it holds the gate nobody may pause the
// writers; between two actions everybody may.
func (w *writer) work(ctx context.Context, gate *sync.RWMutex) {
	defer w.disconnect()
	// Each action has its own source of random choices, so that what it does
	// does not depend on how those before it ended.
	for n := uint64(0); ctx.Err() == nil; n++ {
		r := rand.New(rand.NewPCG(w.seed, n))
		gate.RLock()
		a := draw(w.actions, r)
		err := w.act(ctx, a, r)
		gate.RUnlock()
		if err == nil {
			w.coverage.add(w.coverage.actions, a.name, 1)
			w.trouble = ""
		} else if text := err.Error(); text != w.trouble && !errors.Is(err, errNothing) {
			w.times.note(w.name, "%s: %v", a.name, err)
			w.trouble = text // once is enough
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(r.IntN(40)) * time.Millisecond):
		}
	}
}

// errNothing says that there was no row for an action.
var errNothing = errors.New("there is no row for it")

// act carries out an action. One that is under way ends by itself within
// seconds and is not ended by ctx: the plan of a run is not to depend on it.
func (w *writer) act(ctx context.Context, a action, r *rand.Rand) error {
	acting, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if w.conn == nil || w.conn.IsClosed() {
		conn, err := pgx.Connect(acting, w.world.pg.DSN(database, "kea"))
		if err != nil {
			return errors.New("no database")
		}
		w.conn = conn
	}
	err := a.do(acting, w, r)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("%s (%s)", pgErr.Message, pgErr.Code)
	}
	return err
}

func (w *writer) disconnect() {
	if w.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = w.conn.Close(ctx)
	}
}

// noted notes what was committed of a row.
func (w *writer) noted(host int64, format string, args ...any) {
	w.times.noteHost(host, w.name, format, args...)
}

// commit runs do in a transaction.
func (w *writer) commit(ctx context.Context, do func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, w.conn, do)
}

// pause waits up to d.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// pick returns a row by chance, none of the steady ones.
func pick(ctx context.Context, tx pgx.Tx, r *rand.Rand) (host int64, err error) {
	err = tx.QueryRow(ctx, `SELECT host_id FROM hosts WHERE dhcp_identifier_type <> $2 ORDER BY host_id
		OFFSET $1 % greatest((SELECT count(*) FROM hosts WHERE dhcp_identifier_type <> $2), 1) LIMIT 1`, r.Int64N(1<<40), clientID).Scan(&host)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errNothing
	}
	return host, err
}
