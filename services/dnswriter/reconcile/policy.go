package reconcile

import (
	"context"
	"fmt"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Policy says which steps may be taken. What it forbids is planned all the
// same, and found in Changes.Skipped. The zero value is Sync.
type Policy int

const (
	// Sync creates, changes and removes.
	Sync Policy = iota
	// UpsertOnly creates and changes in place, and never removes. A row of ours
	// that becomes another value is a change.
	UpsertOnly
	// CreateOnly creates and does nothing else.
	CreateOnly
	// Observe does nothing.
	Observe
)

var policies = [...]string{"sync", "upsert-only", "create-only", "observe"}

// String returns the policy as it stands in the setting.
func (p Policy) String() string { return policies[p] }

// UnmarshalText reads what String gives.
func (p *Policy) UnmarshalText(text []byte) error {
	for i, name := range policies {
		if name == string(text) {
			*p = Policy(i)
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", text, strings.Join(policies[:], ", "))
}

// allows tells whether a step may be taken.
func (p Policy) allows(op Op) bool {
	switch p {
	case Sync:
		return true
	case UpsertOnly:
		return op == Create || op == Update
	case CreateOnly:
		return op == Create
	default:
		return false
	}
}

// readOnly is a Provider that refuses every change. It stands between a
// Reconciler that is to observe and the server, so that no mistake above it can
// write.
type readOnly struct{ Provider }

var errObserving = fmt.Errorf("%w: the policy is observe", dns.ErrRefused)

// Create implements Provider.
func (readOnly) Create(context.Context, string, dns.Record, dns.Owner, bool) (string, error) {
	return "", errObserving
}

// Update implements Provider.
func (readOnly) Update(context.Context, dns.Row, dns.Record, dns.Owner) error { return errObserving }

// Delete implements Provider.
func (readOnly) Delete(context.Context, dns.Row) error { return errObserving }

// Adopt implements Provider.
func (readOnly) Adopt(context.Context, dns.Row, dns.Owner) error { return errObserving }
