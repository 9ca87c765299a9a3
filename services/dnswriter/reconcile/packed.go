package reconcile

import (
	"slices"
	"strconv"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// packed is a dns.Row without its name in half of the memory: there are two for
// each reservation, for as long as the process runs. A packer packs and unpacks.
type packed struct {
	value string
	id    uint64 // unless it is odd
	host  int64  // of the only reservation in the mark, with source, unless odd
	odd   *odd   // what does not fit, mostly nil

	ttl    uint32
	zone   uint32 // number of the text
	source uint32 // number of the text
	rtype  uint8  // place in packedTypes
	flags  uint8
}

// packedTypes are the types by their number.
var packedTypes = [...]dns.Type{dns.A, dns.AAAA, dns.PTR, dns.CNAME}

const (
	flagOurs uint8 = 1 << iota
	flagPending
	flagDeleting
)

func (p packed) ours() bool { return p.flags&flagOurs != 0 }

// odd holds what is not as it mostly is: an id that is no decimal number, or a
// mark that does not name exactly one reservation.
type odd struct {
	id    string
	owner *dns.Owner
}

// packer knows the few texts that stand in many rows, by number.
type packer struct {
	texts   []string
	numbers map[string]uint32
}

func newPacker() *packer { return &packer{numbers: make(map[string]uint32)} }

func (k *packer) number(text string) uint32 {
	n, known := k.numbers[text]
	if !known {
		n = uint32(len(k.texts))
		k.texts = append(k.texts, text)
		k.numbers[text] = n
	}
	return n
}

// pack packs a row, whose type is one of packedTypes.
func (k *packer) pack(row dns.Row) packed {
	p := packed{value: row.Value, ttl: row.TTL, zone: k.number(row.Zone), rtype: uint8(slices.Index(packedTypes[:], row.Type))}
	id, err := strconv.ParseUint(row.ID, 10, 64)
	plain := err == nil && strconv.FormatUint(id, 10) == row.ID
	p.id = id
	var manyHosts *dns.Owner
	if row.Owner != nil {
		p.flags |= flagOurs
		if len(row.Owner.Hosts) == 1 {
			p.host, p.source = row.Owner.Hosts[0].HostID, k.number(row.Owner.Hosts[0].Source)
		} else {
			manyHosts = row.Owner
		}
	}
	if row.Pending {
		p.flags |= flagPending
	}
	if row.Deleting {
		p.flags |= flagDeleting
	}
	if !plain || manyHosts != nil {
		p.odd = &odd{row.ID, manyHosts}
	}
	return p
}

// unpack returns the row of a name that was packed.
func (k *packer) unpack(name string, p packed) dns.Row {
	row := dns.Row{
		Record:  dns.Record{Name: name, Type: packedTypes[p.rtype], Value: p.value, TTL: p.ttl},
		Zone:    k.texts[p.zone],
		Pending: p.flags&flagPending != 0, Deleting: p.flags&flagDeleting != 0,
	}
	if p.odd != nil {
		row.ID = p.odd.id
	} else {
		row.ID = strconv.FormatUint(p.id, 10)
	}
	switch {
	case !p.ours():
	case p.odd != nil && p.odd.owner != nil:
		row.Owner = p.odd.owner
	default:
		row.Owner = &dns.Owner{Hosts: []events.Key{{Source: k.texts[p.source], HostID: p.host}}}
	}
	return row
}
