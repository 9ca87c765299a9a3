package solidserver

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unique"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// The class parameters that mark a row as ours. Their names are part of the
// data on the appliance and never change.
//
// kea_source and kea_host_id are lists, separated by commas, of the same
// length: the first source with the first host_id, and so on. Mostly there is
// one of each.
const (
	paramManagedBy = "managed_by"
	paramSource    = "kea_source"
	paramHost      = "kea_host_id"
	paramDigest    = "keastream_digest"

	managedBy = "keastream"
)

// A place is what the digest of a mark binds it to. A mark that a person
// copies to another row together with the row's other class parameters does
// not fit there.
type place struct {
	server string
	view   string // "" if the server has none
	name   string // canonical
	rtype  dns.Type
}

// digest is written onto every row of ours, so what it is made of never
// changes: each part with its length before it, so that no two places are
// written the same.
func (p place) digest() string {
	hash := sha256.New()
	for _, part := range []string{managedBy, p.server, p.view, p.name, string(p.rtype)} {
		fmt.Fprintf(hash, "%d:%s,", len(part), part)
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}

// mark returns the value of rr_class_parameters for a row of ours.
func (p place) mark(owner dns.Owner) string {
	sources := make([]string, len(owner.Hosts))
	ids := make([]string, len(owner.Hosts))
	for i, key := range owner.Hosts {
		sources[i], ids[i] = key.Source, strconv.FormatInt(key.HostID, 10)
	}
	return url.Values{
		paramManagedBy: {managedBy},
		paramSource:    {strings.Join(sources, ",")},
		paramHost:      {strings.Join(ids, ",")},
		paramDigest:    {p.digest()},
	}.Encode()
}

// owner reads the class parameters of a row. It returns nil if the row is not
// ours: without a mark, with one that belongs to another place, and with one
// that does not say from where the row came, as it could never be proved then
// that nobody wants it any more.
func (p place) owner(classParameters string) *dns.Owner {
	if !strings.Contains(classParameters, managedBy) {
		return nil // nearly all rows that are not ours
	}
	// What others have written badly is passed over, and is not our business.
	params, _ := url.ParseQuery(classParameters)
	single := func(name string) string {
		if values := params[name]; len(values) == 1 {
			return values[0]
		}
		return ""
	}
	if single(paramManagedBy) != managedBy || single(paramDigest) != p.digest() {
		return nil
	}
	sources := strings.Split(single(paramSource), ",")
	ids := strings.Split(single(paramHost), ",")
	if len(sources) != len(ids) {
		return nil
	}
	hosts := make([]events.Key, len(ids))
	for i, text := range ids {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || events.CheckSource(sources[i]) != nil {
			return nil
		}
		// The same few sources stand on all rows.
		hosts[i] = events.Key{Source: unique.Make(sources[i]).Value(), HostID: id}
	}
	owner := dns.NewOwner(hosts...)
	return &owner
}
