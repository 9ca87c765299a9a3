package outbox_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// A reading that waited for a table to be rewritten sees it without rows: that
// must not be taken for what the table holds.
func TestReadingThatWaitedForARewrite(t *testing.T) {
	t.Parallel()
	for name, rewrite := range map[string]string{
		"an upgrade of Kea from 17 to 18": `ALTER TABLE ipv6_reservations ALTER COLUMN address TYPE inet USING address::inet`,
		"a table that is filled anew":     `TRUNCATE hosts CASCADE; ` + insertHost + `VALUES ('\x02', 0, 2, 'two')`,
	} {
		for _, direct := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dsn := installed(t, outbox.InstallOptions{})
				writer, reader := connect(t, dsn), connect(t, dsn)
				execute(t, writer, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
				execute(t, writer, `INSERT INTO ipv6_reservations (address, host_id) SELECT '2001:db8::1', host_id FROM hosts`)
				read := func() (ids []int64, err error) {
					_, err = outbox.Read(t.Context(), reader, outbox.Query{Source: "us3", All: true, Direct: direct},
						func(_ outbox.Reading, rows iter.Seq[events.Reservation]) {
							for r := range rows {
								ids = append(ids, r.HostID)
							}
						})
					return ids, err
				}
				execute(t, writer, `BEGIN`)
				execute(t, writer, rewrite)
				result := make(chan error, 1)
				go func() { _, err := read(); result <- err }()
				awaitWaiting(t, dsn, reader.PgConn().PID())
				execute(t, writer, `COMMIT`)
				if err := <-result; !errors.Is(err, outbox.ErrRewritten) {
					t.Errorf("the reading that waited returned %v, want ErrRewritten", err)
				}
				if ids, err := read(); err != nil || len(ids) != 1 {
					t.Errorf("the next one gave %v, %v", ids, err)
				}
			})
		}
	}
}

// awaitWaiting waits until the session waits for a lock.
func awaitWaiting(t *testing.T, dsn string, pid uint32) {
	t.Helper()
	root := connect(t, superuser(t, dsn))
	for deadline := time.Now().Add(time.Minute); ; {
		if one[bool](t, root, `SELECT coalesce(bool_or(wait_event_type = 'Lock'), false) FROM pg_stat_activity WHERE pid = $1`, pid) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the reading does not wait")
		}
		select {
		case <-t.Context().Done():
			t.Fatal(context.Cause(t.Context()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// While a trigger was missing, changes left no mark.
func TestInstallThatMakesATriggerHasEverythingCompared(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	kea, root := connect(t, dsn), connect(t, superuser(t, dsn))
	execute(t, kea, `DROP TRIGGER reservation_notify_trigger ON hosts`)
	execute(t, kea, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	for _, want := range [][]int{{-1}, {}} { // and a second run does nothing
		if _, err := outbox.Install(t.Context(), root, outbox.InstallOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := takeMarks(t, dsn); !slices.Equal(got, want) {
			t.Errorf("marks %v, want %v", got, want)
		}
	}
}
