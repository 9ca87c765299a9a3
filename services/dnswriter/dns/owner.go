package dns

import (
	"maps"
	"slices"

	"github.com/keastream/keastream/pkg/events"
)

// MaxHosts is how many reservations are named in the mark of one record.
const MaxHosts = 16

// Owner says who asked for a record. It is written onto the record, so that
// its removal can be decided without any other memory: a record may go when
// none of its sources asks for it any more, and each of them is complete.
//
// The sources decide. The rows are there for people: Kea gives a reservation a
// new host_id when it is updated, so they may be out of date.
type Owner struct {
	// Hosts are the rows that asked: ascending, distinct, at most MaxHosts, and
	// at least one of each source. See NewOwner.
	Hosts []events.Key
}

// NewOwner makes an Owner of all rows that ask for a record. When they are too
// many to be written down, each source keeps its first row before any keeps a
// second one. More than MaxHosts sources are all kept.
func NewOwner(hosts ...events.Key) Owner {
	all := slices.Clone(hosts)
	slices.SortFunc(all, events.Key.Compare)
	all = slices.Compact(all)
	if len(all) <= MaxHosts {
		return Owner{Hosts: all}
	}
	var firsts, others []events.Key
	for i, key := range all {
		if i == 0 || all[i-1].Source != key.Source {
			firsts = append(firsts, key)
		} else {
			others = append(others, key)
		}
	}
	kept := append(firsts, others[:max(0, MaxHosts-len(firsts))]...)
	slices.SortFunc(kept, events.Key.Compare)
	return Owner{Hosts: kept}
}

// Sources returns the sources that asked, ascending and distinct.
func (o Owner) Sources() []string {
	set := make(map[string]bool)
	for _, key := range o.Hosts {
		set[key.Source] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Equal tells whether both name the same rows.
func (o Owner) Equal(other Owner) bool { return slices.Equal(o.Hosts, other.Hosts) }
