package reconcile

import (
	"context"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Provider reads and writes the rows of one scope: one DNS server, in one
// view. Its methods are called from several goroutines at once, though never
// for the same name at the same time; they end when ctx does, and bound the
// time of each call by themselves.
//
// Errors are those of package dns: ErrExists, ErrChanged and ErrRefused say for
// sure that nothing was changed, ErrUnclear says that it may have been, or may
// still be. With any other error the server was not reached or not able to
// answer, and nothing was changed. It may say how long it wants to be left alone,
// see dns.RetryAfter. A Provider may repeat reads by itself, but no write.
//
// Rows have canonical names and values. All rows of the types of dns.Types are
// returned, ours and foreign ones, also those that are on their way in or out.
type Provider interface {
	// Zones returns all master zones, forward and reverse ones, ascending by
	// name. It returns an error rather than a part of them, or none at all.
	Zones(ctx context.Context) ([]dns.Zone, error)

	// Reverse returns what Records does, of all reverse zones at once.
	Reverse(ctx context.Context) ([]dns.Row, error)

	// Records returns all rows of a zone. It returns an error rather than a part
	// of them: what is not in the answer counts as not there. While it reads,
	// others may write: rows that came or went meanwhile may or may not be in it.
	// A zone that is not there exactly once is an error. Rows of zones below it
	// are not among them.
	Records(ctx context.Context, zone string) ([]dns.Row, error)

	// Lookup returns the rows of one name, as of a moment within the call.
	Lookup(ctx context.Context, zone, name string) ([]dns.Row, error)

	// Create adds a row with our mark and returns its id. With exclusive it
	// does so only into an empty name: dns.ErrExists means that there is a row
	// of the name and type. Without, dns.ErrExists means that there is one with
	// the value too. Creating twice is refused, so it is never repeated blindly.
	Create(ctx context.Context, zone string, rec dns.Record, owner dns.Owner, exclusive bool) (id string, err error)

	// Update changes value, TTL and mark of our row in place, so that there is
	// no moment without a record. dns.ErrChanged means that the row is not there
	// any more as given, or not ours. Doing it twice is the same as once.
	Update(ctx context.Context, row dns.Row, rec dns.Record, owner dns.Owner) error

	// Delete removes our row, the one with its id. A row that is gone already is
	// a success. dns.ErrChanged means that what is there now is not ours, or is
	// an equal row with another id.
	Delete(ctx context.Context, row dns.Row) error

	// Adopt sets our mark on a row that is not ours and leaves the rest of it as it
	// is. dns.ErrChanged means that the row is not there any more as given. Doing it
	// twice is the same as once. A Reconciler never calls it: see FindAdoptions.
	Adopt(ctx context.Context, row dns.Row, owner dns.Owner) error
}
