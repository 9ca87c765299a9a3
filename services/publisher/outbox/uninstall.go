package outbox

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// PublisherLock is the advisory lock (the form with one key) that the active
// publisher of a database holds for as long as its session lives. It is a constant
// and not made from the source: the outbox is one per database, and two
// publishers of it would take each other's marks, whatever they call the source.
// The number spells "keastrea".
const PublisherLock int64 = 0x6b65617374726561

// PublisherName begins the application_name of every publisher.
const PublisherName = "keastream-publisher"

//go:embed uninstall.sql
var uninstallSQL string

// Removal says what Uninstall found and did.
type Removal struct {
	// Installed is false if there was no installation, or not a whole one. What
	// was left of it is gone all the same.
	Installed bool `json:"installed"`
	// Version is the one that was installed, 0 if there was none.
	Version int `json:"version"`
	// Marks is the number of changes that were not published yet. Nobody needs
	// them: after an installation everything is compared.
	Marks int64 `json:"marks"`
	// Restored names the triggers of others that Install had taken off and that
	// are on Kea's tables again.
	Restored []string `json:"restored"`
	// NotRestored are those that could not be put back.
	NotRestored []LostTrigger `json:"not_restored"`
	// DroppedRoles are the roles of keastream that are gone, with all memberships in them.
	DroppedRoles []string `json:"dropped_roles"`
	// KeptRoles are those that are still needed.
	KeptRoles []KeptRole `json:"kept_roles"`
}

// LostTrigger is a trigger that somebody has to make anew, if it is wanted.
type LostTrigger struct {
	Table   string `json:"table"`
	Trigger string `json:"trigger"`
	// Why it is not back.
	Why string `json:"why"`
	// Definition and Function are the SQL that makes it and its function.
	Definition string `json:"definition"`
	Function   string `json:"function"`
}

// KeptRole is a role that could not be dropped.
type KeptRole struct {
	Role string `json:"role"`
	// Why tells what it has rights on or owns, in this or in other databases.
	Why string `json:"why"`
}

// Uninstall takes out of Kea's database what Install put there, in one
// transaction: triggers, schema keastream with the marks that are in it, rights
// on Kea's tables, and the roles, unless another database of the cluster uses
// them. The triggers that Install took off are put back. Where nothing is
// installed it does nothing, and it finishes what was taken out by half, also in
// a database that Kea's tables are gone from.
//
// conn needs to lead to Kea's database, outside of a transaction, as a superuser
// or as a role that the error tells what it lacks. Locks are waited for as
// Install does.
//
// It refuses, with an error that says what to do: a database that a publisher
// works on, a schema keastream that Install did not make, or that somebody made
// other things depend on, an installation that is newer than Version, a role
// without the rights, a standby.
func Uninstall(ctx context.Context, conn *pgx.Conn) (Removal, error) {
	var removal Removal
	if err := apply(ctx, conn, removalTransaction(), &removal); err != nil {
		return Removal{}, fmt.Errorf("take keastream out of database %q: %w", conn.Config().Database, err)
	}
	return removal, nil
}

// UninstallScript gives what Uninstall runs, for psql. It refuses the same things.
func UninstallScript() string {
	return `-- Takes keastream out of Kea's database: psql -X -d kea -f FILE
-- as superuser, or as a role that the script tells what it lacks. It drops schema
-- keastream, the triggers on the tables hosts and ipv6_reservations, and the roles
-- keastream_owner and keastream_relay, and puts back the triggers that the installation
-- took off. It is one transaction and may be run again at any time.
\set ON_ERROR_STOP on

` + removalTransaction()
}

// removalTransaction is the script without what only psql understands.
func removalTransaction() string {
	return strings.Join([]string{
		"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;",
		"SET LOCAL keastream.version = " + quote(strconv.Itoa(Version)) + ";",
		"SET LOCAL keastream.publisher_lock = " + quote(strconv.FormatInt(PublisherLock, 10)) + ";\n",
		uninstallSQL,
		"COMMIT;\n",
	}, "\n")
}
